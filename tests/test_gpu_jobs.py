"The jobs of scripts/gpu.py, each run to its end on a CPU with tiny sizes."
import json, os, subprocess, sys
from pathlib import Path
import pytest

repo = Path(__file__).parents[1]
JOBS = {'smoke': {'fit', 'semantic', 'spans', 'likelihood', 'save'},
        'e2e': {'train', 'weights', 'bound', 'free 50 ancestral', 'free 500 ancestral'},
        'protocol': {'free', 'pos', 'length'}, 'roc': {'train', 'bound', 'gaps', 'weights'},
        'paper': {'train', 'semantic classifier', 'syntax classifier', 'semantic'},
        'rivals': {'grammar-gpt', 'grammar-bert'}}

def job(name, out, *more): # -> the exit code, and the report
    env = os.environ | dict(OMP_NUM_THREADS='1')
    line = [sys.executable, repo / 'scripts/gpu.py', name, '--tiny', '--device', 'cpu',
            '--out', out, '--work', out / 'work', *more]
    done = subprocess.run(list(map(str, line)), env=env, capture_output=True, text=True, timeout=300)
    report = out / f'{name}.json'
    return done, json.loads(report.read_text()) if report.exists() else None

@pytest.mark.parametrize('name', JOBS)
def test_job_runs_to_its_end(name, tmp_path):
    more = ['--seconds', '20'] if name == 'smoke' else []    # too few for torch.compile
    if name == 'roc':
        (tmp_path / 'gaps.jsonl').write_text('{"left": "The Eagle is a", "right": "."}\n')
        more = ['--items', tmp_path / 'gaps.jsonl']
    done, report = job(name, tmp_path, *more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    clean = {k for k, v in report['parts'].items() if set(v) == {'seconds'}}
    assert clean >= JOBS[name], report['parts']
    home = [p for p in tmp_path.iterdir() if p.is_file()]
    assert len(home) <= 9 and all(p.stat().st_size < 16 * 2 ** 20 for p in home)
    if name in ('e2e', 'protocol', 'roc', 'paper'):
        assert (tmp_path / f'{name}-rows.jsonl.gz').stat().st_size > 100

def test_a_job_without_time_says_what_it_left_out(tmp_path):
    done, report = job('protocol', tmp_path, '--seconds', '5')
    assert done.returncode == 0 and set(report['parts']) == {'free', 'pos', 'length'}
    assert all('skipped' in v for v in report['parts'].values())

def test_a_part_that_fails_is_named_and_the_rest_goes_on(tmp_path):
    done, report = job('roc', tmp_path, '--items', tmp_path / 'none.jsonl')
    assert done.returncode == 1 and 'failed: gaps' in done.stdout
    assert 'failed' in report['parts']['gaps'] and set(report['parts']['weights']) == {'seconds'}
