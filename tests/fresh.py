"""Fresh runs of notebooks, commands and scripts by copies of a process that has imported what they
import (`warm.py`): some seconds less each than a new Python."""
import importlib, multiprocessing, os, runpy, sys, tempfile
from pathlib import Path
from subprocess import TimeoutExpired
from unittest import mock

def _child(module, name, args, folder, env, out, err): # in the copy
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [p for p in env.get('PYTHONPATH', '').split(os.pathsep) if p]
    sys.argv = [name, *args]
    if 'DLM_FITS' in env: importlib.import_module('fits').remember(env['DLM_FITS'])
    try: code = getattr(importlib.import_module(module), name)()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try: stream.flush()
            except OSError: pass
    sys.exit(code)

def fresh(module, name, args, folder, env, timeout): # -> exit code, stdout, stderr
    "What the function of a module does with these arguments of the command line."
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['warm', 'fresh'])
    with tempfile.TemporaryDirectory() as d:
        out, err = Path(d) / 'out', Path(d) / 'err'
        todo = (module, name, [*map(str, args)], str(folder), env, str(out), str(err))
        process = context.Process(target=_child, args=todo)
        # The first call starts the server. It finds `warm` by PYTHONPATH alone.
        path = os.pathsep.join([str(Path(__file__).parent), env.get('PYTHONPATH', '')])
        with mock.patch.dict(os.environ, env | dict(PYTHONPATH=path)): process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutExpired(name, timeout)
        said = [p.read_text(encoding='utf8', errors='replace') if p.exists() else ''
                for p in (out, err)]
    return process.exitcode, *said

def _run_and_save(): # in the copy; called from a script, `nbdev_test` reads no command line
    from nbdev.test import nbdev_test
    nbdev_test(sys.argv[1], save=True)

def fresh_run(notebook, folder, env, timeout=400): # a path in the folder -> exit code, output
    "What `nbdev-test --save` does with a notebook; DLM_FITS in env: see fits.py."
    code, out, err = fresh('fresh', '_run_and_save', [notebook], folder, env, timeout)
    return code, out + err

def _main(): # in the copy
    sys.argv[0] = os.environ.pop('SCRIPT')
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name='__main__')

def fresh_script(script, args, folder, env, timeout): # -> exit code, stdout, stderr
    "What a Python script does with these arguments."
    return fresh('fresh', '_main', args, folder, env | {'SCRIPT': str(script)}, timeout)
