"""Builds the package from what settings.ini says."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser()
parser.read(here / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
suffix = "_requirements"

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    license_expression=settings["license"],
    license_files=["LICENSE"],
    keywords=settings["keywords"].split(),
    classifiers=settings["classifiers"].strip().splitlines(),
    packages=find_packages(include=[settings["lib_name"], settings["lib_name"] + ".*"]),
    package_data={"": ["py.typed", "*.pyi", "*.js", "*.css"]},
    python_requires=">=" + settings["min_python"],
    install_requires=settings["requirements"].split(),
    extras_require={
        key.removesuffix(suffix): settings[key].split() for key in settings if key.endswith(suffix)
    },
    entry_points={"console_scripts": settings["console_scripts"].split()},
)
