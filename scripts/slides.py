"""Slides of the chapters: a page for each, of the notebook's own headings, formulas and figures.

    python scripts/slides.py OUT [CHAPTER ...]      # all chapters, or for instance: 02 09b
    python scripts/slides.py --times                # writes the reading times into nbs/teaching.md

OUT gets one HTML page a chapter, `index.html`, and `mathjax/`, the copy of MathJax that the book
uses. Nothing is fetched. Figures are the outputs that are saved in the notebooks; no code is run.
A deck has a title, the sections with their figures and formulas, "What was learnt" and the
exercises. Arrow keys turn the pages; printing gives one slide a page.
"""
import argparse, base64, functools, gzip, html, json, re, shutil, struct, sys
from pathlib import Path
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from diffusion_lm_nb.files import BadInput, write_atomic

REPO = Path(__file__).parents[1]
MATHJAX = REPO / 'docs/_static/mathjax'
TEACHING = REPO / 'nbs/teaching.md'
LAST = 'What was learnt', 'Exercises'
STYLE = """
 * { box-sizing: border-box }
 body { margin: 0; background: #fff; color: #111; font: 27px/1.35 sans-serif }
 .slide { width: 1280px; height: 720px; padding: 34px 56px 44px; position: relative;
          display: flex; flex-direction: column; overflow: hidden; background: #fff }
 h1 { font-size: 52px; margin: 90px 0 30px; line-height: 1.15 }
 h2 { font-size: 38px; margin: 0 0 16px; line-height: 1.15; flex: none }
 .body { flex: 1; min-height: 0; min-width: 0; display: flex; flex-direction: column }
 .text { flex: none } .text p { margin: 0 0 .5em }
 .text ul, .text ol { margin: .1em 0; padding-left: 1.3em } .text li { margin-bottom: .5em }
 figure { flex: 1; min-height: 0; margin: 6px 0 0; display: flex; justify-content: center }
 figure img { max-width: 100%; max-height: 100%; object-fit: contain }
 .formula { font-size: 31px; margin: .3em 0 } .text mjx-container[display=true] { margin: .6em 0 }
 pre { font: .72em/1.3 monospace; background: #f3f3f3; padding: .5em .7em; margin: .3em 0 }
 code { font-size: .9em } table { border-collapse: collapse; font-size: .85em }
 td, th { border-bottom: 1px solid #bbb; padding: .15em .6em; text-align: left }
 .number { position: absolute; right: 24px; bottom: 12px; font-size: 16px; color: #666 }
 .js body { overflow: hidden; background: #444 }
 .js .slide { position: absolute; left: 0; top: 0; visibility: hidden; transform-origin: 0 0 }
 .js .slide.shown { visibility: visible }
 @page { size: 1280px 720px; margin: 0 }
 @media print { .js body { overflow: visible; background: #fff }
  .js .slide { position: relative; visibility: visible; transform: none !important;
               break-after: page } }
"""
SCRIPT = """
const slides = [...document.querySelectorAll('.slide')]
let at = 0
function show(n) {
  at = Math.max(0, Math.min(slides.length - 1, n))
  slides.forEach((s, k) => s.classList.toggle('shown', k === at))
  history.replaceState(null, '', '#' + (at + 1))
}
function scale() {
  const k = Math.min(innerWidth / 1280, innerHeight / 720)
  const x = (innerWidth - 1280 * k) / 2, y = (innerHeight - 720 * k) / 2
  for (const s of slides) s.style.transform = `translate(${x}px, ${y}px) scale(${k})`
}
const over = b => b.scrollHeight > b.clientHeight + 1 || b.scrollWidth > b.clientWidth + 1
const low = b => { const i = b.querySelector('figure'); return i && i.clientHeight < 330 }
function fit() {
  let bad = []
  slides.forEach((s, n) => {
    const b = s.querySelector('.body')
    for (const f of s.querySelectorAll('.formula'))
      if (f.scrollWidth > f.clientWidth)
        f.style.fontSize = 31 * f.clientWidth / f.scrollWidth - .5 + 'px'
    for (let k = 27; k > 13 && (over(b) || low(b)); k--) b.style.fontSize = k + 'px'
    if (over(b)) bad.push(n + 1)
  })
  const root = document.documentElement.dataset
  root.overflow = bad.join(' ')
  root.formulas = document.querySelectorAll('mjx-container').length
  root.errors = document.querySelectorAll('[data-mml-node=merror], mjx-merror').length
  root.ready = 'yes'
}
document.documentElement.classList.add('js')
addEventListener('resize', scale)
addEventListener('hashchange', () => show(parseInt(location.hash.slice(1) || 1) - 1))
addEventListener('keydown', e => {
  const to = {ArrowRight: at + 1, ArrowDown: at + 1, PageDown: at + 1, ' ': at + 1,
              ArrowLeft: at - 1, ArrowUp: at - 1, PageUp: at - 1, Home: 0,
              End: slides.length - 1}[e.key]
  if (to !== undefined) { e.preventDefault(); show(to) }
})
scale(); show(parseInt(location.hash.slice(1) || 1) - 1)
if (!document.getElementById('mathjax')) addEventListener('load', fit)
"""
MATH = """<script>
 window.MathJax = {tex: {inlineMath: [['\\\\(', '\\\\)']], displayMath: [['\\\\[', '\\\\]']]},
  svg: {fontCache: 'global'}, options: {enableMenu: false},
  startup: {pageReady: () => MathJax.startup.defaultPageReady().then(() => fit())}}
</script>
<script id="mathjax" defer src="mathjax/tex-svg-full.js"></script>"""

@functools.cache
def chapters(): # -> {'01': path, …, '18b': path}
    "The notebooks of the chapters by their number; a draft without exercises is no chapter yet."
    return {p.name.split('_')[0]: p for p in sorted((REPO / 'nbs').glob('[0-9]*_*.ipynb'))
            if '## Exercises' in p.read_text(encoding='utf8')}

def cells_of(path):
    "The cells of a notebook, the source of each as one string."
    out = json.loads(Path(path).read_text(encoding='utf8'))['cells']
    for c in out: c['source'] = ''.join(c['source'])
    return out

# ---- reading times

def code_lines(source): # of a cell
    "How many of its lines are code: neither empty nor a comment."
    lines = (line.strip() for line in source.split('\n'))
    return sum(bool(line) and not line.startswith('#') for line in lines)

def reading_minutes(path):
    """Minutes to read a chapter without its exercises: 100 words of prose or 20 lines of code a
    minute, and a minute a figure, rounded to five minutes."""
    minutes = 0.
    for c in cells_of(path):
        if re.search(r'^## Exercises', c['source'], re.M):
            minutes += len(c['source'].split('## Exercises')[0].split()) / 100
            break
        if c['cell_type'] == 'markdown': minutes += len(c['source'].split()) / 100
        else: minutes += code_lines(c['source']) / 20 + len(pictures(c))
    return max(5, 5 * round(minutes / 5))

def with_times(text): # of nbs/teaching.md
    "The same page with the reading times of the notebooks as they are now."
    parts = re.split(r'(?m)^(?=## )', text)
    total = 0
    for k, part in enumerate(parts):
        m = re.match(r'## \[(\d\d\w?) ', part)
        if not m: continue
        minutes = reading_minutes(chapters()[m[1]])
        total += minutes
        parts[k] = re.sub(r'\d+ minutes to read', f'{minutes} minutes to read', part, count=1)
    return re.sub(r'\d+ hours to read', f'{round(total / 60)} hours to read', ''.join(parts))

# ---- a notebook as sections

def pictures(cell): # -> [PNG in base 64]
    "The saved figures of a cell."
    data = (o.get('data', {}).get('image/png') for o in cell.get('outputs', ()))
    return [''.join(d).replace('\n', '') for d in data if d]

def printed(cell): # -> text
    "What a cell has printed."
    return ''.join(''.join(o['text']) for o in cell.get('outputs', ()) if 'text' in o).rstrip()

def split_at_headings(text): # -> [(heading or None, text)]
    "A markdown cell cut before each heading; what stands in a code fence is no heading."
    out, fenced = [[None, []]], False
    for line in text.split('\n'):
        fenced ^= line.startswith('```')
        if not fenced and (m := re.match(r'#{1,3} +(.*)', line)): out.append([m[1].strip(), []])
        else: out[-1][1].append(line)
    return [(h, '\n'.join(lines).strip()) for h, lines in out if h or any(lines)]

def sections(path): # -> [(heading, [(kind, content)])], the title of the chapter first
    "The sections of a notebook; a block is ('text' | 'figure' | 'output', content)."
    out = []
    for c in cells_of(path):
        if c['cell_type'] == 'markdown':
            for heading, text in split_at_headings(c['source']):
                if heading: out.append((heading, []))
                if text and out: out[-1][1].append(('text', text))
        elif out:
            out[-1][1].extend(('figure', p) for p in pictures(c))
            if printed(c): out[-1][1].append(('output', printed(c)))
    return out

def paragraphs(text): # -> list of blocks of markdown
    "Blocks between empty lines; a code fence or a formula stays whole."
    out = re.split(r'\n\s*\n', text)
    joined = []
    for p in out:
        last = joined[-1] if joined else ''
        if last.count('```') % 2 or last.count('$$') % 2: joined[-1] += '\n\n' + p
        else: joined.append(p)
    return [p for p in joined if p.strip()]

def is_prose(paragraph): return not re.match(r'\s*([|>$`]|[-*] |\d+\. |<|!\[)', paragraph)

def sentences(paragraph):
    "The sentences of a paragraph; formulas, code and what stands in brackets are not cut."
    flat = ' '.join(paragraph.split())
    hidden = re.sub(r'\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\[[^\]]*\]\([^)]*\)',
                    lambda m: 'x' * len(m[0]), flat)
    hidden = re.sub(r'\([^()]*\)', lambda m: 'x' * (len(m[0]) - 2) + m[0][-2:], hidden)
    out, start = [], 0
    for m in re.finditer(r'[.?!]\)?\*{0,2} (?=[A-Z*(x"])', hidden):
        out.append(flat[start:m.end()].strip())
        start = m.end()
    out = [s for s in (*out, flat[start:].strip()) if s]
    for k in reversed(range(len(out) - 1)): # a title such as **The score.** stays with its text
        if out[k].startswith('**') and len(out[k].split()) < 4:
            out[k:k + 2] = [' '.join(out[k:k + 2])]
    return out

def prose(blocks): # -> sentences
    "All sentences of a section, tables, lists, quotations and displayed formulas left out."
    out = []
    for kind, text in blocks:
        if kind != 'text': continue
        for p in filter(is_prose, paragraphs(text)):
            out += sentences(re.sub(r'\$\$.*?\$\$', ' ', p, flags=re.S))
    return out

def claims(text): # -> what a figure shows, if the text says so in bold
    "The bold sentences of a text."
    return [m for m in re.findall(r'(?<!- )\*\*([^*]+(?:\*[^*]+\*[^*]+)*[.:])\*\*', text)
            if len(m.split()) > 4 and not m.endswith(('Next.', 'Check.'))]

def formulas(blocks): # -> [(sentence before, formula, sentence behind)]
    "The displayed formulas of a section, each with what is said around it."
    out = []
    for kind, text in blocks:
        parts = re.split(r'(\$\$.*?\$\$)', text, flags=re.S) if kind == 'text' else ()
        for k in range(1, len(parts), 2):
            before, after = prose([('text', parts[k - 1])]), prose([('text', parts[k + 1])])
            last = k + 2 == len(parts) and not ''.join(after[:1]).endswith(':')
            out.append((' '.join(before[-2:]), parts[k], after[0] if last and after else ''))
    return out

def caption(blocks, k): # number of the figure's block
    "What the figure shows: a bold claim behind or before it, else the first sentences behind it."
    after = next((t for kind, t in blocks[k + 1:k + 3] if kind == 'text'), '')
    before = next((t for kind, t in reversed(blocks[:k]) if kind == 'text'), '')
    if found := claims(after)[:1] or claims(before)[-1:]: return re.sub(':$', '.', found[0])
    said = [s for s in prose([('text', after)]) or prose([('text', before)]) if s[-1] != ':']
    return ' '.join(said[:2] if said and len(said[0].split()) < 9 else said[:1])

def table(blocks): # -> markdown or None
    "The first table that fits on a slide, or the first list: a sentence of each point."
    for kind, text in blocks:
        for p in paragraphs(text) if kind == 'text' else ():
            if p.startswith('|') and p.count('\n') <= 10: return p
            points = re.split(r'(?m)^(?:- |\d+\. )', p)
            if not points[0].strip() and 2 < len(points) <= 9:
                return '\n'.join(f'- {sentences(x)[0]}' for x in points[1:])

# ---- slides

def markdown():
    "A renderer that leaves formulas to MathJax and knows no raw HTML."
    def tex(content, options):
        return html.escape(f'\\[{content}\\]' if options['display_mode'] else f'\\({content}\\)')
    return MarkdownIt('commonmark', {'html': False}).enable('table').use(
        dollarmath_plugin, double_inline=True, renderer=tex)

RENDER = markdown()

def rendered(text): # markdown -> HTML
    "The text as HTML; a link to a file of the repository is only its words."
    text = re.sub(r'(?<!!)\[([^\]]*)\]\((?!https?:)[^)]*\)', r'\1', text)
    return RENDER.render(text)

def picture(png, alt): # base 64
    "The figure as a part of the page, at most 1.7 times as large as it was saved."
    width, = struct.unpack('>I', base64.b64decode(png[:32])[16:20])
    alt = html.escape(re.sub(r'[*$\\`]', '', alt), quote=True)
    return (f'<figure><img alt="{alt}" style="width: {min(1168, int(1.7 * width))}px" '
            f'src="data:image/png;base64,{png}"></figure>')

def short_output(blocks): # -> text or None
    "The first printed result that fits on a slide."
    for kind, text in blocks:
        lines = text.split('\n')
        if kind == 'output' and len(lines) <= 12 and max(map(len, lines)) <= 100: return text

def section_slides(heading, blocks): # -> [HTML of the body]
    "A slide a formula (three at most) and a figure; without either, some sentences and a result."
    out = []
    for before, tex, after in formulas(blocks)[:3]:
        said = before or ('' if after else ' '.join(prose(blocks)[:1]))
        out.append(f'<div class="text">{rendered(said)}</div><div class="text formula">'
                   f'{rendered(tex)}</div><div class="text">{rendered(after)}</div>')
    for k, (kind, content) in enumerate(blocks):
        if kind != 'figure': continue
        text = caption(blocks, k)
        out.append(f'<div class="text">{rendered(text)}</div>{picture(content, text)}')
    if out: return out
    said = [s for s in prose(blocks) if not s.endswith(':')]
    text = rendered('\n\n'.join(said[:4]))
    if result := table(blocks): text += rendered(result)
    elif result := short_output(blocks): text += f'<pre>{html.escape(result)}</pre>'
    return [f'<div class="text">{text}</div>'] if text else []

def opening(heading, blocks): # -> HTML of the first slide
    "The title, and the questions that the chapter asks, with what is said before them."
    said = prose(blocks)
    asked = [k for k, s in enumerate(said) if s.rstrip('*').endswith('?')]
    end = asked[-1] + 1 if asked else 2
    kept = range(end) if end <= 6 else sorted({0, 1, *asked[:4]})
    lines = [said[k] if k not in asked or '**' in said[k] else f'**{said[k]}**' for k in kept]
    number, _, name = heading.partition(' · ')
    return (f'<h1>{html.escape(number)} · {rendered_line(name)}</h1><div class="body">'
            f'<div class="text">{rendered((chr(10) * 2).join(lines))}</div></div>')

def rendered_line(text): return re.sub(r'^<p>|</p>\s*$', '', rendered(text).strip())

def closing(heading, blocks): # of LAST
    "The points of a chapter, or its exercises: all lists of the section, long ones too."
    text = '\n\n'.join(t for kind, t in blocks if kind == 'text')
    items = [p for p in paragraphs(text) if re.match(r'[-*] |\d+\. ', p)]
    after = [p for p in paragraphs(text) if p.startswith('**Next.**')]
    return [f'<div class="text">{rendered(chr(10).join(items + [""] + after))}</div>']

def slides(path): # -> [HTML of a slide]
    "All slides of a notebook."
    (title, first), *rest = sections(path)
    out = [opening(title, first)]
    for k, png in enumerate(p for kind, p in first if kind == 'figure'):
        out.append(f'<h2>{rendered_line(title)}</h2><div class="body">{picture(png, title)}</div>')
    for heading, blocks in rest:
        make = closing if heading in LAST else section_slides
        out += [f'<h2>{rendered_line(heading)}</h2><div class="body">{body}</div>'
                for body in make(heading, blocks)]
    return out

def page(title, parts): # HTML of the slides -> HTML of a page
    "A deck that needs nothing but MathJax beside it."
    body = '\n'.join(f'<section class="slide">{s}<div class="number">{k} / {len(parts)}</div>'
                     '</section>' for k, s in enumerate(parts, 1))
    math = MATH if '\\(' in body or '\\[' in body else ''
    return (f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}'
            f'</title>\n<style>{STYLE}</style>\n<body>\n{body}\n<script>{SCRIPT}</script>\n{math}'
            '\n</body></html>\n')

def write_decks(out, names): # folder; numbers of chapters
    "Write the decks, their list and MathJax; returns {name of the page: number of slides}."
    made, links = {}, []
    for name in names:
        path = chapters()[name]
        parts, title = slides(path), sections(path)[0][0]
        write_atomic(out / f'{path.stem}.html', page(title, parts))
        made[path.stem] = len(parts)
        links.append(f'<li><a href="{path.stem}.html">{html.escape(title)}</a>, '
                     f'{len(parts)} slides')
    shutil.copytree(MATHJAX, out / 'mathjax', dirs_exist_ok=True)
    packed = out / 'mathjax/tex-svg-full.js.gz'
    write_atomic(packed.with_suffix(''), gzip.decompress(packed.read_bytes()))
    packed.unlink()
    write_atomic(out / 'index.html', '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
                 '<title>Slides</title>\n<h1>Slides</h1>\n<p>Arrow keys turn the pages.</p>\n<ul>\n'
                 + '\n'.join(links) + '\n</ul></html>\n')
    return made

def main(args=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('out', nargs='?', type=Path)
    p.add_argument('chapters', nargs='*', help='for instance 02 09b; all if none is given')
    p.add_argument('--times', action='store_true', help='write the times into nbs/teaching.md')
    o = p.parse_args(args)
    try:
        if o.times: return write_atomic(TEACHING, with_times(TEACHING.read_text(encoding='utf8')))
        if o.out is None: raise BadInput('name the folder that gets the slides')
        wanted = [c.split('_')[0] for c in o.chapters] or list(chapters())
        if unknown := [c for c in wanted if c not in chapters()]:
            raise BadInput(f'no chapter {unknown[0]}; there are {", ".join(chapters())}')
        o.out.mkdir(parents=True, exist_ok=True)
        made = write_decks(o.out, wanted)
        print(f'{len(made)} decks, {sum(made.values())} slides: {o.out / "index.html"}')
    except (BadInput, OSError) as e:
        print(f'slides: {e}', file=sys.stderr)
        return 2

if __name__ == '__main__': sys.exit(main())
