"What pip needs to know, read from settings.ini."
import shutil
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent

class WithResults(build_py):
    "A wheel has results/*.json inside the package, so that the chapters run in any folder."
    def run(self):
        super().run()
        if self.editable_mode: return # they are read from the checkout
        folder = Path(self.build_lib) / 'diffusion_lm_nb' / 'results'
        folder.mkdir(parents=True, exist_ok=True)
        for path in (here / 'results').glob('*.json'): shutil.copy(path, folder)

config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf8')
cfg = config['DEFAULT']

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    author=cfg['author'],
    license_expression={'apache2': 'Apache-2.0'}[cfg['license']],
    license_files=['LICENSE'],
    keywords=cfg['keywords'].split(),
    python_requires=f">={cfg['min_python']}",
    classifiers=[f'Programming Language :: Python :: 3.{minor}' for minor in (11, 12, 13)],
    long_description=(here / 'README.md').read_text(encoding='utf8'),
    long_description_content_type='text/markdown',
    packages=[cfg['lib_name'], cfg['lib_name'] + '.checks'],
    package_data={cfg['lib_name']: ['weights/**/*', 'targets/**/*', 'grammars/*']},
    cmdclass=dict(build_py=WithResults),
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': cfg['dev_requirements'].split()},
    entry_points={'console_scripts': cfg['console_scripts'].split()},
    zip_safe=False,
)
