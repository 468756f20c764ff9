"Copies of the notebooks for Colab and Kaggle: what they open, and what their first cell installs."
import importlib.util, json, os, re, subprocess, sys, sysconfig
from pathlib import Path
import nbformat, pytest
from fresh import fresh_script

repo = Path(__file__).parents[1]
sys.path.insert(0, str(repo/'scripts'))
import places
sys.path.pop(0)

ADDRESS = 'https://github.com/OWNER/REPO'

def write(out, address=ADDRESS, **kwargs):
    places.write_places(address, out=str(out), **kwargs)
    return {p.name: nbformat.read(p, 4) for p in sorted(Path(out).glob('*.ipynb'))}

@pytest.fixture(scope='module')
def copies(tmp_path_factory): return write(tmp_path_factory.mktemp('places')/'colab')

def test_every_notebook_has_a_copy_that_begins_with_badge_and_install(copies):
    assert set(copies) == {p.name for p in (repo/'nbs').glob('*.ipynb')} and len(copies) > 40
    for name, nb in copies.items():
        nbformat.validate(nb)
        badge, install = nb.cells[:2]
        assert f'colab.research.google.com/github/OWNER/REPO/blob/main/colab/{name})' in badge.source
        assert f'src={ADDRESS}/blob/main/colab/{name})' in badge.source
        assert 'find_spec' in install.source and f'git+{ADDRESS}@main' in install.source
        own = nbformat.read(repo/'nbs'/name, 4)
        assert [c.cell_type for c in nb.cells[2:]] == [c.cell_type for c in own.cells]
        code = [c.source for c in own.cells if c.cell_type == 'code']
        assert [c.source for c in nb.cells[2:] if c.cell_type == 'code'] == code

def test_links_lead_to_files_of_the_repository_or_to_copies(copies):
    found = []
    for nb in copies.values():
        for c in nb.cells[1:]:
            if c.cell_type != 'markdown': continue
            found += re.findall(rf'\]\({ADDRESS}/blob/main/([^)#]+)', c.source)
            for link in places.LINK.findall(c.source): assert link.split('#')[0] in copies, link
    assert len(found) > 30 and all((repo/f).exists() for f in found)

def test_address_branch_and_folder(tmp_path):
    for given in (ADDRESS + '.git', ADDRESS + '/', ADDRESS + '.git/'):
        nb = write(tmp_path/'x', given, branch='a/b')['index.ipynb']
        assert 'github/OWNER/REPO/blob/a/b/x/index.ipynb)' in nb.cells[0].source
        assert f'git+{ADDRESS}@a/b"' in nb.cells[1].source
    assert places.place_of(repo/'docs'/'new') == 'docs/new'

@pytest.mark.parametrize('args, said', [
    (['https://gitlab.com/a/b'], 'no address that Colab opens'),
    (['https://github.com/a'], 'write it like https://github.com/OWNER/REPO'),
    (['https://github.com/a/b/c'], 'no address'), (['https://github.com/a/"b'], 'no address'),
    ([ADDRESS, '--branch', 'x y'], 'no name of a branch'),
    ([ADDRESS, '--branch', '"'], 'no name of a branch')])
def test_what_cannot_be_done_gets_one_line(tmp_path, args, said):
    script = repo / 'scripts/places.py'
    code, _, err = fresh_script(script, [*args, '--out', tmp_path/'n'], repo, os.environ, 60)
    assert code == 2 and said in err and err.count('\n') == 1
    assert not (tmp_path/'n').exists()

def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path/'mine.txt').write_text('x')
    with pytest.raises(places.BadInput, match='other things'): write(tmp_path)
    with pytest.raises(places.BadInput, match='is a file'): write(tmp_path/'mine.txt')
    assert [p.name for p in tmp_path.iterdir()] == ['mine.txt']

@pytest.fixture
def elsewhere(tmp_path):
    "A Python with all requirements and without the package, as a machine that has torch."
    env = tmp_path/'env'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', env], check=True)
    here = Path(sysconfig.get_path('purelib'))
    there = env/here.relative_to(sys.prefix)
    for f in here.iterdir():
        if 'diffusion_lm_nb' not in f.name: (there/f.name).symlink_to(f)
    return env/'bin/python'

def listed(python): # -> {name: version}
    out = subprocess.run([python, '-m', 'pip', 'list', '--format=json', '--disable-pip-version-check'],
                         capture_output=True, text=True, check=True).stdout
    return {d['name']: d['version'] for d in json.loads(out)}

@pytest.mark.skipif(os.name == 'nt', reason='links')
def test_the_first_cell_installs_the_package_and_nothing_else(elsewhere, wheel, tmp_path):
    "Twice in one kernel: the second time nothing is left to do. No restart between it and a text."
    before = listed(elsewhere)
    assert 'torch' in before and not any(re.search('diffusion.lm', n) for n in before)
    nb = write(tmp_path/'copies', source=wheel.as_uri())['index.ipynb']
    cell = nb.cells[1].source
    program = f'''
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in [{cell!r}] * 2 + ["import diffusion_lm_nb as d; print(d.__file__)",
        "print(d.DiffusionLM.from_pretrained('grammar').sample(1, steps=2))"]:
    shell.run_cell(cell).raise_error()'''
    away = tmp_path/'away'
    away.mkdir()
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | dict(PIP_NO_INDEX='1')
    done = subprocess.run([elsewhere, '-c', program], cwd=away, capture_output=True, text=True,
                          timeout=300, env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert str(elsewhere.parents[1]) in done.stdout
    after = listed(elsewhere)
    added = {n for n in after if after[n] != before.get(n)}
    assert len(added) == 1 and set(before) <= set(after), added

def test_the_first_cell_does_nothing_where_the_package_is_there(tmp_path):
    cell = write(tmp_path/'copies', source='no/such/file.whl')['index.ipynb'].cells[1].source
    program = f"""
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance().run_cell({cell!r}).raise_error()"""
    done = subprocess.run([sys.executable, '-c', program], cwd=repo, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')

def test_no_requirement_can_take_a_machine_back():
    "Only fastcore has an upper bound; so pip downgrades nothing else."
    from configparser import ConfigParser
    config = ConfigParser(delimiters=['='])
    config.read(repo/'settings.ini', encoding='utf8')
    wanted = config['DEFAULT']['requirements'].split()
    assert [r for r in wanted if re.search('[<]|==|~=', r)] in ([], ['fastcore>=2.2.28,<3'])
    assert len(wanted) > 5
