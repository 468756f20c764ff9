"JupyterLab in headless Chromium: the form of `steer` and the figure of `show`, driven by clicks."
import json, os, signal, socket, subprocess, sys, time
from urllib.request import urlopen
import nbformat, pytest
from chromium import Browser, needs_browser
from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.steering import Choices, Run

pytestmark = needs_browser

CELLS = ['''from diffusion_lm_nb import DiffusionLM
from diffusion_lm_nb.animation import show
from diffusion_lm_nb.steering import steer''',
         "lm = DiffusionLM.from_pretrained('grammar')",
         'show(lm.trajectory(seed=1, steps=8))', 'steer(lm)']

@pytest.fixture(scope='module')
def notebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lab')
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    nb.metadata['kernelspec'] = dict(name='python3', display_name='Python 3', language='python')
    nbformat.write(nb, folder/'try.ipynb')
    return folder

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@pytest.fixture(scope='module')
def server(notebook):
    "The address of JupyterLab, which has its settings in a folder of the test."
    pytest.importorskip('jupyterlab')
    pytest.importorskip('ipywidgets')
    port = free_port()
    own = {f'JUPYTER_{k}': str(notebook/k.lower()) for k in ('CONFIG_DIR', 'DATA_DIR', 'RUNTIME_DIR')}
    options = dict(ip='127.0.0.1', port=port, port_retries=0, open_browser=False, token='',
                   allow_root=True, root_dir=str(notebook))
    args = [f'--ServerApp.{k}={v}' for k, v in options.items()]
    args += ['--IdentityProvider.token=', '--LabApp.expose_app_in_browser=True',
             '--LabApp.extension_manager=readonly']
    log = open(notebook/'log', 'w')
    process = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *args], stdout=log, stderr=log,
                               env=os.environ | own, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while True:
            try: urlopen(f'http://127.0.0.1:{port}/api', timeout=5)
            except OSError:
                assert time.monotonic() < until and process.poll() is None, \
                    (notebook/'log').read_text()[-2000:]
                time.sleep(.2)
            else: break
        yield f'http://127.0.0.1:{port}/lab/tree/try.ipynb'
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)

def kernels(address): # of the notebook -> list of dicts
    return json.loads(urlopen(address.replace('lab/tree/try.ipynb', 'api/kernels'), timeout=5).read())

STATUS = '.jp-Notebook-ExecutionIndicator'

@pytest.fixture(scope='module')
def lab(server, tmp_path_factory):
    "The notebook in JupyterLab, all of its cells run."
    browser = Browser(tmp_path_factory.mktemp('profile'))
    try:
        browser.open(server, 'typeof jupyterapp === "object"'
                             ' && document.querySelectorAll(".jp-CodeCell").length === 4')
        until = time.monotonic() + 60                   # JupyterLab starts the kernel by itself;
        while not any(k['execution_state'] == 'idle' for k in kernels(server)): # before that a
            assert time.monotonic() < until             # command would ask for one
            time.sleep(.2)
        browser.wait(f'document.querySelector("{STATUS}").dataset.status === "idle"')
        browser('void jupyterapp.commands.execute("notebook:run-all-cells")')
        browser.wait('!!document.querySelector(".jp-OutputArea-output .widget-vbox")', 90)
        yield browser
    finally: browser.close()

FIND = '''window.field = name => [...document.querySelectorAll(".widget-vbox .jupyter-widgets")]
    .find(w => w.querySelector("label")?.textContent === name);
window.lines = () => [...document.querySelectorAll(".widget-vbox .widget-html-content")]
    .map(e => e.innerText);
window.figures = () => [...document.querySelectorAll(".jp-OutputArea-output iframe")]
    .map(f => f.contentDocument);'''

def written(lab, call): # -> the lines when the call of `sample` is this one
    lab.wait(f'lines().join(" ").includes({json.dumps(call)})', 60)
    return lab('lines()')

def test_a_control_and_a_slider_change_the_text(lab):
    lab(FIND)
    lm = DiffusionLM.from_pretrained('grammar')
    lab.type_into('field("Value").querySelector("input")', 'French')
    lab.key('Enter', 13, '\r')
    lab.type_into('field("Number of words").querySelector("input")', '14')
    lab.key('Enter', 13, '\r')
    before = Run(lm, Choices(value='French', n_words=14))
    live, *_, said = written(lab, before.code)
    *_, (free, steered) = before.steps()
    assert free.text in live and steered.text in live
    assert "✓ SemanticContent('food', 'French'): satisfied" in said
    lab('field("Steps").querySelector(".noUi-handle").focus()')
    for _ in range(3): lab.key('ArrowLeft', 37)
    after = Run(lm, Choices(value='French', n_words=14, steps=47))
    live, *_ = written(lab, after.code)
    assert [*after.steps()][-1][1].text in live

def test_the_figure_in_the_form_follows(lab):
    "The words of the last step stand in the frame below the form."
    lab(FIND)
    lab.wait('figures().length === 2 && !!figures()[1]?.querySelector("input[type=range]")')
    words = lab('figures()[1].body.innerText')
    assert 'French' in words and '<' not in words

def test_the_slider_of_a_trajectory_moves(lab):
    "At both of its ends the words are the package's."
    lab(FIND)
    steps = list(DiffusionLM.from_pretrained('grammar').trajectory(seed=1, steps=8))
    shown = '[...figures()[0].querySelectorAll("li")].map(l => l.innerText).join(" ")'
    for at, step in ((0, steps[0]), (8, steps[-1])):
        lab(f'''(at => {{ at.value = {at}; at.dispatchEvent(new Event("input")) }})(
            figures()[0].querySelector("input[type=range]"))''')
        assert lab(shown) == step.text
    assert steps[0].text != steps[-1].text

def test_a_bad_control_is_one_line(lab):
    lab(FIND)
    lab.type_into('field("Parts of speech").querySelector("input")', 'DET WORD')
    lab.key('Enter', 13, '\r')
    lab.wait('lines().at(-1).includes("WORD")', 60)
    assert lab('lines().at(-1).split("\\n").length') == 1
    assert lab('lines()[0]') == ''
