"""The chapters for a class: with blanks that run, or with the solutions in their place.

    python scripts/exercises.py student OUT       # make student
    python scripts/exercises.py solutions OUT     # make solutions

In both, flags of nbdev are left out. A folder that holds something else is not written into.
"""
import copy, json, re, sys
from pathlib import Path
from diffusion_lm_nb.files import BadInput, command, user_path, write_atomic

NBS = Path(__file__).parents[1] / 'nbs'
FLAG = re.compile(r'#\s*\|')
START = re.compile(r'^([123])\. \*\*', re.M)             # an exercise in its chapter
SECTION = re.compile(r'^## ([123])\b', re.M)             # its solution

def source(cell): return ''.join(cell['source'])

def flags(cell):
    lines = source(cell).split('\n') if cell['cell_type'] == 'code' else []
    return [l.split('|', 1)[1].strip() for l in lines if FLAG.match(l)]

def is_blank_cell(cell): # the code cell of an exercise
    return 'eval: false' in flags(cell) and re.search(r'^check_\w+\(', source(cell), re.M)

def plain(cell): # -> the cell without flags of nbdev, or None if nothing is left
    "A reader's copy of a cell."
    if any(f.split()[:1] in (['default_exp'], ['hide']) for f in flags(cell)): return None
    kept = [l for l in source(cell).split('\n') if cell['cell_type'] != 'code' or not FLAG.match(l)]
    text = '\n'.join(kept).strip('\n')
    return dict(copy.deepcopy(cell), source=text) if text else None

def read(path): return json.loads(path.read_text(encoding='utf8'))

def student(chapter): # path -> notebook
    "A chapter whose exercises run; nothing leads to the solutions."
    nb = read(chapter)
    cells = list(filter(None, map(plain, nb['cells'])))
    for c in cells:
        c['source'] = re.sub(r'^Solutions: \[.*\n*', '', c['source'], flags=re.M)
    return dict(nb, cells=[c for c in cells if c['source'].strip()])

def sections(path): # of a solutions notebook -> (cells before the first, {number: cells})
    "The solutions of a chapter, cut at their headings."
    first, found, number = [], {}, None
    for c in filter(None, map(plain, read(path)['cells'])):
        if c['cell_type'] == 'code':
            (found[number] if number else first).append(c)
            continue
        at = [0, *(m.start() for m in SECTION.finditer(c['source'])), len(c['source'])]
        for i, j in zip(at, at[1:]):
            part = c['source'][i:j].strip()
            if not part: continue
            if m := SECTION.match(part): number, found[m[1]] = m[1], []
            piece = dict(c, source=part, id=f'{c["id"]}{i:x}')
            (found[number] if number else first).append(piece)
    return [c for c in first if c['cell_type'] == 'code'], found

def solved(chapter): # path -> notebook
    "A chapter with the solution of each exercise in the place of its blank."
    nb, (first, found) = read(chapter), sections(NBS / 'solutions' / chapter.name)
    cells, number = [], None
    for c in nb['cells']:
        if c['cell_type'] == 'markdown' and (m := START.search(source(c))): number = m[1]
        if not is_blank_cell(c):
            if own := plain(c): cells.append(own)
            continue
        if number not in found: raise BadInput(f'{chapter.name}: exercise {number} has no solution')
        cells += (first if number == '1' else []) + found[number]
    for c in cells:
        c['source'] = re.sub(r'^Solutions: \[.*\n*', '', c['source'], flags=re.M)
    return dict(nb, cells=[c for c in cells if c['source'].strip()])

def folder_for(out, script): # a path; name of the script that fills the folder
    "The folder, made if need be; BadInput if it holds what the script did not write."
    out, stem = user_path(out), Path(script).stem
    mark = out / f'.written-by-{stem}'
    if out.exists() and not out.is_dir(): raise BadInput(f'{out} is a file; name a folder')
    if out.is_dir() and any(out.iterdir()) and not mark.exists():
        raise BadInput(f'{out} holds other things; name a new folder')
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(mark, f'Notebooks here are overwritten by scripts/{script}\n')
    return out

def write_chapters(
    kind, # student (with blanks) or solutions
    out,  # a folder, new or written by this command before
):
    "Write each chapter as a notebook into a folder."
    makers = dict(student=student, solutions=solved)
    if kind not in makers: raise BadInput(f'no kind {kind!r}; say student or solutions')
    out = folder_for(out, Path(__file__).name)
    chapters = sorted(NBS.glob('[0-9]*.ipynb'))
    for path in chapters:
        nb = makers[kind](path)
        write_atomic(out / path.name, json.dumps(nb, ensure_ascii=False, indent=1) + '\n')
    print(f'{len(chapters)} notebooks in {out}/')

if __name__ == '__main__': sys.exit(command(write_chapters, pos=['kind', 'out'])())
