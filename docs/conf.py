"The book: the notebooks of nbs/ as they stand, read and never run. Built by `make book`; reads offline."
import gzip, json, re, shutil
from configparser import ConfigParser
from pathlib import Path

repo = Path(__file__).parents[1]
cfg = ConfigParser(delimiters=['=']); cfg.read(repo/'settings.ini', encoding='utf8')
nbs = repo/'nbs'
chapters = sorted(p.stem for p in nbs.glob('[0-9]*.ipynb'))
appendices = sorted(p.stem for p in nbs.glob('[A-I]*_*.ipynb'))
solutions = sorted(f'solutions/{p.stem}' for p in nbs.glob('solutions/*.ipynb'))

project, author, version = (
    'Diffusion-LM in notebooks',
    cfg['DEFAULT']['author'],
    cfg['DEFAULT']['version'],
)
copyright, release, language = author, version, 'en'
root_doc = 'index' if (nbs/'index.ipynb').exists() else chapters.pop(0)
extensions = ['myst_nb']
exclude_patterns = ['_*', '**/_*', '**/.ipynb_checkpoints']
smartquotes = False

nb_execution_mode, nb_merge_streams = 'off', True
myst_enable_extensions = ['dollarmath', 'amsmath', 'alert']     # alert: GitHub's > [!NOTE]
myst_dmath_double_inline = True
myst_heading_anchors = 3

html_theme, html_title = 'furo', project
html_static_path, html_css_files = ['_static'], ['book.css']
pygments_dark_style = 'github-dark'
html_copy_source = html_show_sphinx = False
mathjax_path = 'mathjax/tex-svg-full.js' # one file with its fonts: nothing is fetched
mathjax3_config = {'svg': {'fontCache': 'global'}}

def contents(caption, names): # -> markdown of a hidden table of contents
    return (
        '\n'.join(['```{toctree}', ':hidden:', f':caption: {caption}', '', *names, '```'])
        if names
        else ''
    )

def tidy(app, docname, content): # content: [the notebook as text], changed in place
    "Leave out nbdev's flags and hidden cells; give the first page the table of contents."
    if not app.env.doc2path(docname).suffix == '.ipynb':
        return
    nb, cells = json.loads(content[0]), []
    for c in nb['cells']:
        flags, lines = [], ''.join(c['source']).split('\n')
        while c['cell_type'] == 'code' and lines and re.match(r'#\s*\|', lines[0]):
            flags.append(lines.pop(0).split('|')[1].split())
        c['source'] = '\n'.join(lines).strip('\n')
        if c['cell_type'] == 'markdown':
            c['source'] = re.sub(
                r'\]\((\.\./[^)\s]*\.md)\)', r'](path:\1)', c['source']
            ) # pages outside the book
        if not c['source'] or any(f[:1] in (['hide'], ['default_exp']) for f in flags):
            continue
        if ['hide_input'] in flags or ['echo:', 'false'] in flags:
            c['metadata']['tags'] = ['remove-input']
        cells.append(c)
    if docname == root_doc:
        parts = dict(
            Chapters=chapters, Appendices=appendices, Terms=['glossary'], Solutions=solutions,
            Teaching=['teaching'],
        )
        toc = '\n\n'.join(contents(caption, names) for caption, names in parts.items())
        cells.append(dict(cell_type='markdown', id='contents', metadata={}, source=toc))
    nb.update(
        cells=cells, metadata=dict(language_info=dict(name='python', pygments_lexer='ipython3'))
    )
    content[0] = json.dumps(nb)

def put_browser(app, error):
    "The page of `make browser` beside the book, in browser/, if it has been made."
    page = repo/'_build/browser'
    if error is None and page.exists():
        shutil.copytree(page, Path(app.outdir)/'browser', dirs_exist_ok=True)

def unpack_mathjax(app, error):
    "MathJax is compressed in the repository, to save 1.6 MB; in the book it is not."
    packed = Path(app.outdir)/'_static'/f'{mathjax_path}.gz'
    if error is None and packed.exists():
        packed.with_suffix('').write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()

def setup(app):
    app.connect('source-read', tidy)
    app.connect('build-finished', put_browser)
    app.connect('build-finished', unpack_mathjax)
