"Headless Chromium, driven by its debugging protocol."
import base64, json, shutil, subprocess, time
from http.client import HTTPConnection
from pathlib import Path
import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
needs_browser = pytest.mark.skipif(not CHROMIUM, reason='no Chromium here')

def targets(port): # of the debugging protocol -> list of dicts
    link = HTTPConnection('127.0.0.1', port, timeout=60)
    link.request('GET', '/json/list')
    found = json.loads(link.getresponse().read())
    link.close()
    return found

class Browser:
    "A page in headless Chromium, driven by its debugging protocol."
    def __init__(self, folder): # where its profile lies
        websocket = pytest.importorskip('websocket')
        self.process = subprocess.Popen(
            [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
             '--no-first-run', '--disable-background-networking', '--disable-component-update',
             '--disable-sync', f'--user-data-dir={folder}', '--remote-debugging-port=0',
             'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told, until = Path(folder)/'DevToolsActivePort', time.monotonic() + 60
        while not (told.exists() and '\n' in told.read_text()):
            assert time.monotonic() < until and self.process.poll() is None
            time.sleep(.05)
        target = next(t for t in targets(int(told.read_text().split()[0])) if t['type'] == 'page')
        self.link = websocket.create_connection(target['webSocketDebuggerUrl'], timeout=60,
                                                suppress_origin=True)
        self.number, self.said = 0, []
        for domain in ('Page', 'Runtime', 'Log'): self.do(f'{domain}.enable')
    def open(self, address, ready, width=1200): # a page afresh; script; pixels of the window
        self.do('Emulation.setDeviceMetricsOverride', width=width, height=900, mobile=False,
                deviceScaleFactor=1)
        self.do('Page.navigate', url='about:blank')
        self.do('Page.navigate', url=address)
        self.wait(f'document.readyState === "complete" && ({ready})')
        self.said = []
    def do(self, method, **params): # -> result; what the console says is kept
        self.number += 1
        self.link.send(json.dumps(dict(id=self.number, method=method, params=params)))
        while True:
            got = json.loads(self.link.recv())
            if got.get('method') in ('Log.entryAdded', 'Runtime.exceptionThrown'):
                self.said.append(json.dumps(got['params']))
            if got.get('id') == self.number:
                assert 'error' not in got, got
                return got['result']
    def __call__(self, script): # -> its value
        got = self.do('Runtime.evaluate', expression=script, returnByValue=True,
                      awaitPromise=True)
        assert 'exceptionDetails' not in got, got
        return got['result'].get('value')
    def wait(self, script, seconds=60): # until it is true
        until = time.monotonic() + seconds
        while not self(script):
            assert time.monotonic() < until, f'never true: {script}; {self.said}'
            time.sleep(.05)
    def key(self, key, code, text=''): # press one
        more = dict(key=key, code=key, windowsVirtualKeyCode=code)
        self.do('Input.dispatchKeyEvent', type='keyDown', text=text, **more)
        self.do('Input.dispatchKeyEvent', type='keyUp', **more)
    def click_at(self, element): # a script that gives an element; the mouse, in its middle
        x, y = self(f"""(() => {{ const e = {element}; e.scrollIntoView({{block: "center"}});
            const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2] }})()""")
        for kind in ('mousePressed', 'mouseReleased'):
            self.do('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)
    def type_into(self, element, text): # by keys, in the place of what stands there
        self(f'(e => {{ e.focus(); e.select() }})({element})')
        self.do('Input.insertText', text=text)
    def picture(self, path): # of the whole page
        size = self.do('Page.getLayoutMetrics')['cssContentSize']
        got = self.do('Page.captureScreenshot', captureBeyondViewport=True,
                      clip=dict(size, scale=1))
        Path(path).write_bytes(base64.b64decode(got['data']))
    def close(self):
        self.link.close()
        self.process.terminate()
        self.process.wait(60)
