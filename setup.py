"What pip needs to know, read from settings.ini."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
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
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': cfg['dev_requirements'].split()},
    entry_points={'console_scripts': cfg['console_scripts'].split()},
    zip_safe=False,
)
