"Steering live: choices and runs, the widget, and the page, asked by HTTP and driven by clicks."
import asyncio, json, os, re, signal, socket, subprocess, sys, threading, time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
import pytest
from chromium import Browser, needs_browser
from diffusion_lm_nb import BadInput, DiffusionLM, SemanticContent
from diffusion_lm_nb import steering
from diffusion_lm_nb.steering import Choices, EXAMPLES, Run, control_of, known_values
from diffusion_lm_nb.steering import read_choices, solver_of, steer
from diffusion_lm_nb import demo
from diffusion_lm_nb.demo import local_sockets, MOST_BYTES, page_html, serve

@pytest.fixture(scope='module')
def lm(): return DiffusionLM.from_pretrained('grammar')

def last(run): # -> the last text of each
    *_, steps = run.steps()
    return [s.text for s in steps]

# ---- choices

@pytest.mark.parametrize('given, says', [
    (dict(steps=10 ** 6), 'Steps is a whole number from 2 to 200'), (dict(steps=1), 'Steps'),
    (dict(steps=True), 'Steps'), (dict(steps='50'), 'Steps'), (dict(steps=None), 'Steps'),
    (dict(strength=float('nan')), 'Strength'), (dict(strength=float('inf')), 'Strength'),
    (dict(strength=-1), 'Strength'), (dict(noise=1.1), 'Fresh noise'), (dict(seed=-1), 'Seed'),
    (dict(seed=2 ** 31), 'Seed'), (dict(temperature=0), 'Temperature'),
    (dict(n_words=0), 'Number of words'), (dict(n_words=1.5), 'Number of words'),
    (dict(tags='NOUN ' * 999), 'at most 1000 letters'), (dict(gaps=['___']), 'Text with gaps'),
    (dict(frob=1), "no choice 'frob'"), ([], 'names and values')])
def test_choices_out_of_bounds_are_refused(given, says):
    with pytest.raises(BadInput, match=re.escape(says)): read_choices(given)

@pytest.mark.parametrize('given, says', [
    (dict(value='Klingon'), 'Klingon'), (dict(field='colour', value='red'), 'colour'),
    (dict(tags='DET WORD'), 'WORD'), (dict(tree='(S (NP'), 'tree'), (dict(span='3 5'), '3 5 PP'),
    (dict(span='5 3 PP'), '5 to 3'), (dict(span='1 2 NOPE'), 'NOPE'),
    (dict(gaps='no gap'), 'no gap'), (dict(gaps='a ___{0} b'), '0'),
    (dict(pattern='( a'), 'without'),
    (dict(gaps='___{999999999}'), 'too long'), (dict(n_words=510), '62'),
    (dict(pattern='((((a{64}){64}){64}){64})'), '20,000 states'), (dict(pattern='(' * 999), '50'),
    (dict(n_words=3, tags='DET NOUN'), 'length'), (dict(solver='magic'), 'magic'),
    (dict(tree='(S ' * 300 + '_' + ')' * 300), 'tree')])
def test_bad_controls_are_one_line(lm, given, says):
    with pytest.raises(BadInput, match=re.escape(says)) as e: Run(lm, read_choices(given))
    assert len(str(e.value).splitlines()) == 1

# ---- runs

CASES = [
    dict(value='French', n_words=14), dict(value='French'), dict(n_words=9),
    dict(pattern='_+ is a _* pub _* .'), dict(gaps='The ___ is a ___{3} near the river .'),
    dict(tags='det propn aux det noun punct'), dict(span='3 5 NP', value='Italian'), dict(),
    dict(value='French', solver='ddim', noise=.5, temperature=.8, strength=1.5, seed=5),
    dict(value='French', solver='renoise', noise=.9), dict(value='pub', field='Type',
                                                           solver='dpmpp2m')]

@pytest.mark.parametrize('given', CASES)
def test_the_text_is_that_of_sample(lm, given):
    "The steered text is what the call in Python gives, and `trajectory` too."
    import diffusion_lm_nb, diffusion_lm_nb.solvers
    run = Run(lm, read_choices(dict(steps=10, **given)))
    names = vars(diffusion_lm_nb) | vars(diffusion_lm_nb.solvers) | dict(lm=lm)
    assert last(run)[-1] == eval(run.code, names)[0]
    *_, step = lm.trajectory(given.get('seed', 0), control=run.control, steps=10, batch_size=1,
                             solver=run.solver, guidance=run.choices.strength)
    assert step.text == last(run)[-1]

@pytest.mark.parametrize('given', [c for c in CASES if {*c} - {'n_words'}])
def test_both_texts_start_from_the_same_noise(lm, given):
    run = Run(lm, read_choices(dict(steps=10, **given)))
    free, steered = next(run.steps())
    open_ = [i for i, (a, b) in enumerate(zip(free.x, steered.x)) if (a == b).all()]
    known = len(run.lm.request(0, run.choices.seed, run.control).given)
    assert free.x.shape == steered.x.shape and len(open_) == len(free.x) - known

def test_the_free_text_is_written_without_a_control(lm):
    run = Run(lm, Choices(value='French', n_words=14, steps=10))
    assert last(run)[0] == lm.sample(1, n_words=14, steps=10, batch_size=1)[0]
    drawn = Run(lm, Choices(value='French', steps=10))
    assert last(drawn)[0] == lm.sample(1, steps=10, batch_size=1)[0]

@pytest.mark.parametrize('given', [dict(value='French', n_words=14), dict(n_words=9)])
def test_a_student_has_its_own_number_of_steps(given):
    "The form offers it, the call leaves it out, and both write the same (chapter 17d)."
    import diffusion_lm_nb
    student = DiffusionLM.from_pretrained('grammar-4')
    page = page_html(student, 'grammar-4')
    setup = json.loads(re.search(r'<script id="setup"[^>]*>(.*?)</script>', page, re.S)[1])
    assert setup['defaults']['steps'] == student.steps == 4
    run = Run(student, Choices(steps=4, **given))
    assert 'steps' not in run.code
    assert last(run)[-1] == eval(run.code, vars(diffusion_lm_nb) | dict(lm=student))[0]
    assert steer(student).steering.fields['steps'].value == 4

def test_without_a_control_there_is_one_text(lm):
    assert Run(lm, Choices()).names == Run(lm, Choices(n_words=9)).names == ['the text']
    assert Run(lm, Choices()).verdicts(['a']) == []

def test_strength_zero_steers_nothing_and_two_seeds_differ(lm):
    def texts(**k): return last(Run(lm, Choices(value='French', n_words=14, steps=20, **k)))
    free, steered = texts()
    assert 'French' in steered.split() and free != steered
    free, loose = texts(strength=0.)
    assert free == loose
    assert texts(seed=1)[1] != steered

def test_the_verdict_is_that_of_the_control(lm):
    run = Run(lm, Choices(value='French', n_words=3))
    good, bad = 'A French pub', 'A pub .'
    assert run.verdicts([bad, good]) == [('Length(3)', [True]),
                                         ("SemanticContent('food', 'French')", [False, True])]
    line = steering.verdict_line(*run.verdicts([bad, good])[1])
    assert line.startswith('✓') and 'without the controls: not satisfied' in line
    assert steering.verdict_line(*run.verdicts([good, bad])[1]).startswith('✗')

@pytest.mark.parametrize('name', ['grammar', 'e2e'])
def test_offers_can_be_taken(name):
    model = DiffusionLM.from_pretrained(name)
    values = known_values(model)
    assert 'French' in values['food'] and {'Type', 'area', 'price'} <= {*values}
    for field, value in [(f, v) for f, vs in values.items() for v in vs]:
        SemanticContent(field, value).bind(model)
    for _, given in EXAMPLES:
        run = Run(model, read_choices(given | dict(steps=20)))
        verdicts = run.verdicts(last(run))
        assert verdicts and all(satisfied[-1] for _, satisfied in verdicts), given

# ---- the widget

@pytest.fixture
def widget(lm):
    pytest.importorskip('ipywidgets')
    box = steer(lm)
    box.steering.fields['steps'].value = 10
    return box.steering

def test_a_change_changes_the_text(lm, widget):
    before = widget.texts
    widget.fields['n_words'].value = 14
    widget.fields['value'].value = 'French'
    assert len(before) == 1 and len(widget.texts) == 2 and 'French' in widget.texts[1].split()
    want = lm.sample(1, control=control_of(widget.choices()), steps=10, batch_size=1)
    assert want == widget.texts[1:]
    assert 'srcdoc' in widget.frame.value and widget.texts[1] in repr(widget.figure)
    assert 'satisfied' in widget.said.value
    assert widget.live.value.endswith(f'with the controls: {widget.texts[1]}')
    widget.fields['seed'].value = 7
    assert widget.texts[1:] == lm.sample(1, control=control_of(widget.choices()), steps=10, seed=7,
                                         batch_size=1) != want

def test_each_field_reaches_the_choices(widget):
    wanted = dict(n_words=9, field='Type', value='pub', tags='DET NOUN', tree='(S _ _)',
                  span='0 1 NP', gaps='a ___', pattern='_+', steps=15, strength=.5,
                  solver='ddim', noise=.3, temperature=.7, seed=3)
    assert {*wanted} == {*widget.fields}
    for name, value in wanted.items(): widget.fields[name].value = value
    assert widget.choices() == Choices(**wanted)

def test_the_widget_says_what_is_bad_and_escapes_it(widget):
    widget.fields['value'].value = '<img src=x>'
    assert widget.figure is None and widget.frame.value == '' and widget.texts == []
    assert widget.live.value == ''
    assert 'does not know' in widget.said.value and '<img' not in widget.said.value
    widget.fields['value'].value = 'French'
    assert widget.figure is not None

def test_dials_and_offers_follow_their_lists(widget):
    noise, heat = widget.fields['noise'], widget.fields['temperature']
    assert noise.disabled and heat.disabled
    widget.fields['solver'].value = 'ddim'
    assert not noise.disabled and not heat.disabled and noise.description == 'Noise η'
    widget.fields['solver'].value = 'ancestral'
    assert noise.disabled and not heat.disabled
    widget.fields['field'].value = 'Type'
    offered = widget.fields['value'].options
    assert 'pub' in offered and 'French' not in offered

def test_without_ipywidgets_there_is_one_line(lm, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ipywidgets', None)
    with pytest.raises(BadInput, match='pip install ipywidgets'): steer(lm)

# ---- the command

def command(*args, **more): # a process of `dlm-demo`
    code = ('import sys; sys.argv[0] = "dlm-demo"; from diffusion_lm_nb.demo import dlm_demo;'
            ' sys.exit(dlm_demo())')
    return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=os.environ | dict(OMP_NUM_THREADS='1'), **more)

def started(*args): # -> the process, its port
    process = command('--model', 'grammar', '--no-open', '--port', 0, *args)
    line = process.stdout.readline()
    found = re.match(r'http://127\.0\.0\.1:(\d+)/ ', line)
    assert found, line + process.stderr.read()
    return process, int(found[1])

@pytest.fixture(scope='module')
def port():
    process, port = started()
    yield port
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, '', 'dlm-demo: stopped\n')

def ask(port, method, path, body=None, **headers): # -> answer, its text
    link = HTTPConnection('127.0.0.1', port, timeout=60)
    link.request(method, path, body, {k.replace('_', '-'): v for k, v in headers.items()})
    answer = link.getresponse()
    text = answer.read().decode()
    link.close()
    return answer, text

JSON = 'application/json'
def write(port, choices, page='test', **headers): # -> status, list of events
    body = json.dumps(dict(page=page, choices=choices))
    answer, text = ask(port, 'POST', '/write', body, **dict(Content_Type=JSON) | headers)
    return answer.status, [json.loads(line) for line in text.splitlines()]

def test_the_page_takes_nothing_from_elsewhere(port, lm):
    for path, kind in (('/', 'html'), ('/demo.css', 'css'), ('/demo.js', 'javascript')):
        answer, text = ask(port, 'GET', path)
        assert answer.status == 200 and kind in answer.headers['Content-Type']
        policy = answer.headers['Content-Security-Policy']
        assert policy.startswith("default-src 'none'") and 'unsafe' not in policy
        assert not re.search(r'https?:|//\w', policy + re.sub(r'</?\w', '', text))
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert answer.headers['Server'] is None
    html = ask(port, 'GET', '/')[1]
    assert not re.search(r'<[^>]* (on\w+|style)=|<style|<script>', html)
    assert html == page_html(lm, 'grammar') and '<b>' not in page_html(lm, '<b>x')
    for name in re.findall(r'<(?:input|select)[^>]* id="(\w+)"', html):
        assert f'for="{name}"' in html or f'id="{name}" type="range"' in html, f'no label: {name}'

def test_the_steps_are_those_of_trajectory(port, lm):
    status, (first, *steps, verdict) = write(port, dict(value='French', n_words=14, steps=10))
    assert status == 200 and first['steps'] == len(steps) == 11
    control = SemanticContent('food', 'French')
    run = list(lm.trajectory(control=control, n_words=14, steps=10, batch_size=1))
    for step, said in zip(run, steps):
        assert step.text == ' '.join(w for w, *_ in said['rows'][1])
        assert said['t'] == round(step.t, 3)
    assert verdict['verdict'][1].startswith("✓ SemanticContent('food', 'French'): satisfied")

def test_steps_arrive_while_others_are_computed(port):
    link = socket.create_connection(('127.0.0.1', port), timeout=60)
    body = json.dumps(dict(page='test', choices=dict(steps=100))).encode()
    link.sendall(b'POST /write HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n'
                 b'Content-Length: %d\r\n\r\n%b' % (port, len(body), body))
    parts = []
    while not parts or not parts[-1].endswith(b'0\r\n\r\n'): parts.append(link.recv(2 ** 20))
    link.close()
    assert len(parts) > 10 and b'"verdict"' not in b''.join(parts[:-5])

@pytest.mark.parametrize('host', ['evil.example', 'evil.example:{}', '127.0.0.1', 'localhost',
                                  '127.0.0.1:1', '127.0.0.1.evil.example:{}', ''])
@pytest.mark.parametrize('method, path', [('GET', '/'), ('GET', '/demo.js'), ('GET', '/none'),
                                          ('POST', '/write')])
def test_another_host_is_refused(port, host, method, path):
    answer, text = ask(port, method, path, b'{}' if method == 'POST' else None,
                       Host=host.format(port), Content_Type=JSON)
    assert answer.status in (400, 403) and 'names' not in text and '<form' not in text
    assert answer.status == 403 or host == ''

def test_localhost_is_this_host(port):
    assert ask(port, 'GET', '/', Host=f'localhost:{port}')[0].status == 200

@pytest.mark.parametrize('origin', ['http://evil.example', 'null', 'https://127.0.0.1:{}',
                                    'http://127.0.0.1:{}.evil.example', 'http://127.0.0.1', ''])
def test_another_origin_is_refused(port, origin):
    status, (said,) = write(port, {}, Origin=origin.format(port))
    assert status == 403 and 'elsewhere' in said['error']

def test_ones_own_origin_is_not_refused(port):
    for host in ('127.0.0.1', 'localhost'):
        assert write(port, dict(steps=5), Origin=f'http://{host}:{port}')[0] == 200

@pytest.mark.parametrize('body, kind, says', [
    (b'', JSON, 'not JSON'), (b'{', JSON, 'not JSON'), (b'[]', JSON, 'page and choices'),
    (b'\xff', JSON, 'not UTF-8'), (b'{"page": 1}', JSON, 'names and values'),
    (b'{"choices": {}}', 'text/plain', 'Content-Type'),
    (b'page=1', 'application/x-www-form-urlencoded', 'Content-Type'),
    (b'{"choices": {"seed": ' + b'9' * 9999 + b'}}', JSON, 'JSON'),
    (b'[' * 9999, JSON, 'JSON')])
def test_a_broken_request_is_one_line(port, body, kind, says):
    answer, text = ask(port, 'POST', '/write', body, Content_Type=kind)
    assert answer.status == 400 and says in json.loads(text)['error'] and '\n' not in text

def test_a_bad_control_is_its_line(port):
    status, (said,) = write(port, dict(value='Klingon'))
    assert status == 400 and "'Klingon' is a word that the model does not know" in said['error']
    assert write(port, dict(steps=10 ** 6))[0] == 400

def test_a_large_request_and_unknown_addresses_are_refused(port):
    try: assert ask(port, 'POST', '/write', b'x' * (MOST_BYTES + 1))[0].status in (400, 413)
    except (ConnectionError, OSError): pass # the server hung up
    for method, path, status in (('GET', '/write', 405), ('POST', '/', 405), ('GET', '/../x', 404),
                                 ('GET', '/demo.py', 404), ('DELETE', '/', 405)):
        answer, text = ask(port, method, path)
        assert answer.status == status and 'Traceback' not in text and json.loads(text)['error']

def begun(port, page): # -> the connection and the answer of a long text that is being written
    link = HTTPConnection('127.0.0.1', port, timeout=60)
    choices = dict(steps=200, value='French', n_words=60)
    body = json.dumps(dict(page=page, choices=choices))
    link.request('POST', '/write', body, {'Content-Type': JSON})
    answer = link.getresponse()
    assert answer.status == 200 and answer.read(100)
    return link, answer

def is_busy(port): return write(port, dict(steps=5), 'who')[0] == 409

def test_one_text_at_a_time(port):
    link, answer = begun(port, 'one')
    status, (said,) = write(port, dict(steps=5), 'two')
    assert status == 409 and 'wait until it is done' in said['error']
    status, events = write(port, dict(steps=5), 'one')      # the same page: the older one ends
    assert status == 200 and 'verdict' in events[-1]
    rest = answer.read().decode()
    assert '"verdict"' not in rest and rest.count('\n') < 201
    assert write(port, dict(steps=5), 'two')[0] == 200
    link.close()

def test_who_goes_away_does_not_block_the_next(port):
    link, answer = begun(port, 'gone')
    assert is_busy(port)
    answer.close()
    link.close()
    began = time.monotonic()
    while is_busy(port): assert time.monotonic() - began < 60
    status, events = write(port, dict(steps=5), 'next')
    assert status == 200 and 'verdict' in events[-1]

@contextmanager
def served(lm, seconds=60): # -> the port of a server in a thread
    sockets, ready, loop = local_sockets(0), threading.Event(), asyncio.new_event_loop()
    task = loop.create_task(serve(lm, 'grammar', sockets, lambda at: ready.set(), seconds))
    def run():
        with suppress(asyncio.CancelledError): loop.run_until_complete(task)
    port, thread = sockets[0].getsockname()[1], threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try: yield port
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(60)

def test_a_text_has_its_time(lm):
    with served(lm, seconds=.3) as port:
        status, events = write(port, dict(steps=200, value='French', n_words=60))
        assert status == 200 and 'the time for one text is over' in events[-1]['error']
        assert len(events) < 200

def test_an_error_of_ours_is_one_line_and_goes_on(lm, monkeypatch, capsys):
    def broken(lm, choices): yield 1 / 0
    with served(lm) as port:
        with monkeypatch.context() as m:
            m.setattr(demo, 'events', broken)
            status, (said,) = write(port, {})
            assert status == 400 and said['error'].startswith('an error of the program')
        assert 'ZeroDivisionError' in capsys.readouterr().err
        assert write(port, dict(steps=5))[0] == 200

def ended(process, *signals): # -> exit code, stdout, stderr
    for s in signals: process.send_signal(s)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err

@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_while_it_writes(number):
    process, port = started()
    link, _ = begun(port, 'a')
    assert ended(process, number) == (130, '', 'dlm-demo: stopped\n')
    link.close()

def refused(capsys, *args): # -> the line that is said
    try: code = demo.dlm_demo(['--no-open', *map(str, args)])
    except SystemExit as e: code = e.code
    assert code == 2
    out, err = capsys.readouterr()
    assert out == '' and len(err.splitlines()) == 1
    return err

def test_a_port_in_use_is_one_line(port, capsys):
    assert f'port {port} is in use; name another one with --port' in refused(
        capsys, '--model', 'grammar', '--port', port)

@pytest.mark.parametrize('args, says', [
    (['--port', '70000'], '0 to 65535'), (['--port', '-1'], '--port'), (['--port', 'x'], '--port'),
    (['--model', 'no-such-model', '--port', '0'], 'no-such-model'),
    (['--device', 'abacus', '--port', '0'], 'abacus'), (['--frob'], '--frob')])
def test_bad_options_are_one_line(capsys, args, says): assert says in refused(capsys, *args)

def test_the_page_is_opened_unless_it_is_not_wanted(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(demo.webbrowser, 'open', opened.append)
    demo.announce('http://127.0.0.1:1/', open=False)
    assert not opened and capsys.readouterr().out == 'http://127.0.0.1:1/ (Ctrl-C ends it)\n'
    demo.announce('http://127.0.0.1:1/')
    deadline = time.monotonic() + 10
    while not opened: assert time.monotonic() < deadline
    assert opened == ['http://127.0.0.1:1/']

def test_it_listens_on_this_computer_only():
    sockets = local_sockets(0)
    assert {s.getsockname()[0] for s in sockets} == {'127.0.0.1'}
    for s in sockets: s.close()

# ---- by clicks

class Page(Browser):
    "The page of `dlm-demo`."
    def __init__(self, folder, address):
        super().__init__(folder)
        self.address = address
    def open(self, width=1200): # afresh, in a window of so many pixels
        super().open(self.address, 'typeof setup === "object"', width)
    def type(self, name, text): self.type_into(f'find("{name}")', text)
    def click(self, name): self.click_at(f'find("{name}")')
    def done(self): # wait until a text stands there, or an error
        self.wait('!running && /done|nothing/.test(find("state").textContent)')
    @property
    def words(self): # shown now, a list a text
        return self('''[...document.querySelectorAll("#runs ol")].map(l =>
            [...l.querySelectorAll("span")].map(s => s.textContent))''')
    def text(self, name): return self(f'find("{name}").innerText')

@pytest.fixture(scope='module')
def browser(port, tmp_path_factory):
    browser = Page(tmp_path_factory.mktemp('profile'), f'http://127.0.0.1:{port}/')
    yield browser
    browser.close()

@pytest.fixture
def page(browser):
    browser.open()
    yield browser
    said = [s for s in browser.said if '400 (Bad Request)' not in s]
    assert not said, said

def change(name, value): # set a field as a hand does
    return (f'find("{name}").value = {json.dumps(value)}; for (const kind of ["input", "change"])'
            f' find("{name}").dispatchEvent(new Event(kind, {{bubbles: true}}))')

@needs_browser
def test_a_control_changes_the_text(page, lm):
    page.type('value', 'French')
    page.type('n_words', '14')
    page('find("steps").value = 20')
    page.click('write')
    page.done()
    free, steered = page.words
    run = Run(lm, Choices(value='French', n_words=14, steps=20))
    assert [' '.join(free), ' '.join(steered)] == last(run)
    assert free != steered and run.control.check(steered) and not run.control.check(free)
    assert "✓ SemanticContent('food', 'French'): satisfied" in page.text('verdict')
    assert page.text('code') == run.code
    page('at.value = 0; at.dispatchEvent(new Event("input"))')
    first = [s.text.split() for s in next(run.steps())]
    assert page.words == first != [free, steered]
    page.click('play')
    page.wait('at.value === at.max && !timer')
    assert page.words == [free, steered]

@needs_browser
def test_the_keyboard_is_enough(page):
    page.type('value', 'Italian')
    page.key('Enter', 13, '\r')
    page.done()
    assert 'Italian' in page.words[1]
    page('document.querySelector(".run li").focus()')
    assert '%' in page.text('said')
    page('document.activeElement.blur(); document.querySelector("h1").tabIndex = -1;'
         'document.querySelector("h1").focus()')
    seen = []
    for _ in range(30):
        page.key('Tab', 9)
        seen.append(page('document.activeElement.id || document.activeElement.className'))
    wanted = ['example', 'n_words', 'field', 'value', 'tags', 'tree', 'span', 'gaps', 'pattern',
              'steps', 'strength', 'solver', 'seed', 'write', 'next', 'clear', 'play', 'at']
    assert [s for s in dict.fromkeys(seen) if s in wanted] == wanted

@needs_browser
def test_a_slider_writes_again(page):
    page('document.querySelector(".example").click()')
    page.done()
    before = page.words
    page(change('seed', 9) + '; find("state").textContent')
    page.done()
    assert page.words != before and 'French' in page.words[1] and 'seed=9' in page.text('code')
    page(change('steps', 20))
    page.done()
    assert page('steps.length') == 21 and 'steps=20' in page.text('code')

@needs_browser
def test_a_bad_control_shows_its_line(page):
    page.type('value', 'Klingon')
    page.click('write')
    page.done()
    assert "'Klingon' is a word that the model does not know" in page.text('error')
    assert page('[find("error").hidden, find("figure").hidden]') == [False, True]
    page.type('value', 'French')
    page.click('write')
    page.done()
    assert page('[find("error").hidden, find("figure").hidden]') == [True, False]
    assert 'French' in page.words[1]

EVIL = '<img src=x onerror=document.title=1><script>document.title=2</script>'

@needs_browser
@pytest.mark.parametrize('field, says', [
    ('value', "'<' is a word"), ('tags', 'no tag'), ('tree', 'not a tree'), ('span', '3 5 PP'),
    ('gaps', '/SCRIPT>'), ('pattern', 'does not know')])
def test_markup_in_an_input_is_not_markup_in_the_page(page, field, says):
    page.type(field, EVIL + ' ___' if field == 'gaps' else EVIL)
    page.click('write')
    page.done()
    shown = page('find("error").innerText + find("verdict").innerText + [...document'
                 '.querySelectorAll("#runs span")].map(s => s.textContent).join(" ")')
    assert says.lower() in shown.lower() and '<' in shown, shown
    assert page('[document.images.length, document.scripts.length]') == [0, 2]
    assert page('document.title') == 'Diffusion-LM: steer it live'

@needs_browser
def test_stop_and_another_page(page, port):
    page.type('n_words', '60')
    page.type('value', 'French')
    page('find("steps").value = 200')
    page.click('write')
    page.wait('steps.length > 2')
    assert write(port, dict(steps=5), 'other')[0] == 409
    page.click('stop')
    page.wait('find("state").textContent === "stopped"')
    assert 2 < page('steps.length') < 201
    began = time.monotonic()
    while write(port, dict(steps=5), 'other')[0] != 200: assert time.monotonic() - began < 60

@needs_browser
def test_dials_follow_the_sampler(page):
    assert page('[find("noise").disabled, find("temperature").disabled]') == [True, True]
    page(change('solver', 'ddim'))
    assert page('[find("noise").disabled, find("temperature").disabled]') == [False, False]
    assert page.text('noise-label') == 'Noise η'
    page(change('field', 'Type'))
    assert 'pub' in page('[...find("values").options].map(o => o.value)')

@needs_browser
@pytest.mark.parametrize('width', [390, 1200])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.open(width)
    browser('document.querySelectorAll(".example")[1].click()')
    browser.done()
    window, *wide = browser('[document.documentElement.clientWidth, document.documentElement'
                            '.scrollWidth, ...[...document.querySelectorAll("body *")].map('
                            'e => e.getBoundingClientRect().right)]')
    assert window > width - 30 and max(wide) <= window + .5
    top, end = browser('(r => [r.top, r.bottom])(find("runs").getBoundingClientRect())')
    assert 0 <= top < 900, 'the text is out of sight'
