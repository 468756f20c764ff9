"""Draws the moving picture of README, docs/_static/emerging.gif, with the shipped model.

    python scripts/pictures.py

The same noise twice: without a control, and with food: French. The seed was chosen among 24, because both texts read well.
"""
from pathlib import Path
from diffusion_lm_nb import DiffusionLM, SemanticContent
from diffusion_lm_nb.animation import show

if __name__ == '__main__':
    lm = DiffusionLM.from_pretrained('e2e')
    controls = {'no control': None, 'food: French': SemanticContent('food', 'French')}
    runs = [lm.trajectory(seed=20, control=c, batch_size=1) for c in controls.values()]
    picture = show(*runs, names=list(controls))
    picture.save(Path(__file__).parents[1]/'docs/_static/emerging.gif')
    print(picture)
