"""Copies of the notebooks for Colab and Kaggle, once the repository has a public address.

    python scripts/places.py https://github.com/OWNER/REPO [--branch main] [--out colab]

Each copy begins with a badge that opens it there, and with a cell that installs the package where
it is missing. Links to files of the repository become links to that address. Commit the folder:
the badges name it. A folder that holds something else is not written into.
"""
import copy, json, re, sys
from pathlib import Path
from diffusion_lm_nb.files import BadInput, command, write_atomic
from exercises import folder_for

REPO = Path(__file__).resolve().parents[1]
NBS = REPO / 'nbs'
ADDRESS = re.compile(r'https://github\.com/[\w.-]+/[\w.-]+?(\.git)?/?')
NAME = re.compile(r'[\w.-]+(/[\w.-]+)*')                       # of a branch
LINK = re.compile(r'\]\((?![a-z]+:|#)([^)\s]+)\)')             # to a file beside the notebook
INSTALL = '''import importlib.util
if importlib.util.find_spec('diffusion_lm_nb') is None:
    %pip install -q "diffusion_lm_nb @ {source}"'''

def badges(address, branch, path): # of the repository; the notebook's path in it
    "Markdown of two badges that open the notebook, in Colab and in Kaggle."
    place = f'{address.removeprefix("https://")}/blob/{branch}/{path}'
    colab = f'https://colab.research.google.com/{place.replace(".com", "", 1)}'
    kaggle = f'https://kaggle.com/kernels/welcome?src=https://{place}'
    picture = 'https://colab.research.google.com/assets/colab-badge.svg'
    return f'[![Open in Colab]({picture})]({colab}) · [Open in Kaggle]({kaggle})'

def absolute(text, address, branch, names): # Markdown; names of the notebooks that are copied
    "The text; links to what is not copied lead to the repository."
    def one(m):
        path, _, part = m[1].partition('#')
        if path in names: return m[0]
        at = (NBS / path).resolve().relative_to(REPO)
        return f']({address}/blob/{branch}/{at}{"#" + part if part else ""})'
    return LINK.sub(one, text)

def placed(path, address, branch, folder, source, names): # of a notebook -> notebook
    "A notebook with its badges and its first cell; what the cell installs is `source`."
    nb = copy.deepcopy(json.loads(path.read_text(encoding='utf8')))
    for c in nb['cells']:
        if c['cell_type'] == 'markdown':
            c['source'] = absolute(''.join(c['source']), address, branch, names)
    first = dict(cell_type='markdown', id='places-badges', metadata={},
                 source=badges(address, branch, f'{folder}/{path.name}'))
    install = dict(cell_type='code', id='places-install', metadata={}, execution_count=None,
                   outputs=[], source=INSTALL.format(source=source))
    return dict(nb, cells=[first, install, *nb['cells']])

def place_of(folder): # that is written
    "Its path in the repository; its name, if it is not there yet."
    whole = folder.resolve()
    return whole.relative_to(REPO).as_posix() if whole.is_relative_to(REPO) else whole.name

def write_places(
    address, # https://github.com/OWNER/REPO
    branch: str = 'main', # the branch that the badges open
    out: str = 'colab', # a folder of the repository, new or written by this command before
    source: str = None, # what pip installs; the repository by default
):
    "Write a copy of each notebook with a badge and a cell that installs the package."
    if not ADDRESS.fullmatch(address):
        raise BadInput(f'{address[:80]!r} is no address that Colab opens; write it like'
                       ' https://github.com/OWNER/REPO')
    if not NAME.fullmatch(branch): raise BadInput(f'{branch[:80]!r} is no name of a branch')
    address = re.sub(r'(\.git)?/?$', '', address)
    out = folder_for(out, Path(__file__).name)
    source = source or f'git+{address}@{branch}'
    paths = sorted(NBS.glob('*.ipynb'))
    names = {p.name for p in paths}
    for path in paths:
        nb = placed(path, address, branch, place_of(out), source, names)
        write_atomic(out / path.name, json.dumps(nb, ensure_ascii=False, indent=1) + '\n')
    print(f'{len(paths)} notebooks in {out}/; commit them on the branch {branch}')

if __name__ == '__main__': sys.exit(command(write_places, pos=['address'])())
