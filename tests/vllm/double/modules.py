"""Modules that stand in for what has no CPU build, without hiding anything.

A name that the double does not define is an `Absent`: it may be looked up, annotated with and
subclassed, as upstream's modules do while they are imported, but a call or a truth test raises and
says which name was meant.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types


class AbsentError(NotImplementedError):
    """Upstream called something that the test double does not have."""


class Absent:
    """A name without an implementation."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str):
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return Absent(f"{self._name}.{attribute}")

    def _raise(self, *_, **__):
        raise AbsentError(f"{self._name} is not in the test double")

    __call__ = __bool__ = __iter__ = __len__ = __getitem__ = _raise

    def __mro_entries__(self, bases):
        return (object,)

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __repr__(self):
        return f"<absent {self._name}>"


class Module(types.ModuleType):
    """A module whose unknown names are Absent."""

    def __getattr__(self, attribute: str):
        if attribute.startswith("__"):
            raise AttributeError(f"module {self.__name__} has no attribute {attribute}")
        return Absent(f"{self.__name__}.{attribute}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module below the replaced packages."""

    def __init__(self):
        self.packages: set[str] = set()

    def find_spec(self, fullname, path=None, target=None):
        parts = fullname.split(".")
        if any(".".join(parts[:i]) in self.packages for i in range(1, len(parts) + 1)):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return Module(spec.name)

    def exec_module(self, module):
        pass


_finder = _Finder()


def replace(package: str, **contents) -> Module:
    """Imports of that package, and of whatever is below it, yield doubles from now on.

    Args:
        package: a dotted name.
        contents: what the package is to define.

    Returns:
        The package.
    """
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.packages.add(package)
    module = importlib.util.module_from_spec(_finder.find_spec(package))
    module.__dict__.update(contents)
    sys.modules[package] = module
    parent, _, child = package.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)
    return module
