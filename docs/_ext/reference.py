"""The reference: a directive that shows public names, links to them wherever they are written as code, and references
in signatures.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from functools import cache
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import typing_extensions
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from markdown_docstrings import converted
from public_names import homes, names_of, public_paths
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import stringify_signature
from typing_extensions import is_protocol

import typedloops
from typedloops import InRun, Loop
from typedloops.loops.base.slot import BaseSlot

if TYPE_CHECKING:
    from collections.abc import Sequence

OTHERS = ("builtins", "collections.abc", "os", "pathlib", "threading", "torch", "types", "typing", "typing_extensions")
"""Libraries whose names stand in signatures: their own documentation is not linked to, so that nothing of the build
depends on a network."""

FOR_AUTHORS = {"fused", "gives", "opens_run", "points", "requires", "state_fields", "transient_fields"}
"""What a loop says of itself to the loops around it: shown where it is explained, in `Loop` and `InRun`."""


class Api(Directive):
    """Shows names of a package, one a line; without any, all that no other package shows.

    ```{api} typedloops
    Trainer
    ```
    """

    has_content: ClassVar[bool] = True
    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        names = list(self.content) or [
            name for name in names_of(package) if homes()[f"{package}.{name}"].startswith(package)
        ]
        lines = ["````{eval-rst}"]
        if package != "typedloops":
            lines += [f"From ``{package}``:", ""]
        for name in names:
            lines += shown(package, name)
        made = nodes.section()
        self.state.nested_parse(StringList([*lines, "````"], source=package), self.content_offset, made)
        return made.children


def shown(package: str, name: str) -> list[str]:
    """What shows a public thing, in reStructuredText."""
    thing = getattr(importlib.import_module(package), name)
    if inspect.isclass(thing):
        directive = "autoexception" if issubclass(thing, BaseException) else "autoclass"
        slots = [member for member, slot in vars(thing).items() if isinstance(slot, BaseSlot)]
        hidden = ", ".join([*left_out(thing), *slots])
        lines = [f".. {directive}:: {package}.{name}", f"   :exclude-members: {hidden}"]
        lines += ["   :special-members: __call__", ""] if is_protocol(thing) and "__call__" in vars(thing) else [""]
        for slot in slots:
            lines += [f"   .. py:attribute:: {slot}", f"      :type: {thing.__annotations__[slot]}", ""]
        return lines
    if inspect.isfunction(thing):
        return [f".. autofunction:: {package}.{name}", ""]
    return value(package, name)


def value(package: str, name: str) -> list[str]:
    """What shows a constant or the name of a type: autodoc knows its docstring only where it is defined."""
    for module in own_modules():
        source = ast.parse(inspect.getsource(module))
        for node in ast.walk(source):
            if isinstance(node, ast.AnnAssign | ast.Assign) and name in _targets(node):
                docstring = ModuleAnalyzer.for_module(module.__name__).find_attr_docs().get(("", name), [])
                annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
                head = (
                    [f".. py:type:: {name}", f"   :module: {package}", f"   :canonical: {_text_of(node.value)}"]
                    if annotation == "TypeAlias" and node.value is not None
                    else [
                        f".. py:data:: {name}",
                        f"   :module: {package}",
                        *([f"   :type: {annotation}"] if annotation else []),
                    ]
                )
                return [*head, "", *(f"   {line}" for line in converted(docstring)), ""]
    raise LookupError(f"{package}.{name} is defined nowhere")


def _targets(node: ast.AnnAssign | ast.Assign) -> list[str]:
    return [ast.unparse(target) for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]


def _text_of(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def left_out(kind: type[object]) -> list[str]:
    """What a loop overrides without a word of its own, because it does what its base says."""
    if kind in (Loop, InRun) or not issubclass(kind, Loop):
        return []
    silent = [
        name
        for name, member in vars(kind).items()
        if isinstance(member, FunctionType | property)
        and not member.__doc__
        and name not in {"run", "connect", "output"}
    ]
    return sorted({*FOR_AUTHORS, *silent})


def signature_as_written(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """A signature with the names of types that its source has, instead of what they stand for; none for a Protocol."""
    if inspect.isclass(thing) and is_protocol(thing):
        return "", None
    if signature is None or what not in {"class", "exception", "function", "method"} or not callable(thing):
        return None
    found = inspect.signature(thing)
    parameters = list(found.parameters.values())
    if what == "method" and parameters and parameters[0].name in {"self", "cls"}:
        parameters = parameters[1:]
    shown = stringify_signature(found.replace(parameters=parameters), show_return_annotation=False)
    shown = shown.replace("<factory>", "...")  # of a dataclass
    result = str(found.return_annotation) if found.return_annotation != found.empty else None
    return shown, result if what in {"function", "method"} else None


def bases_as_written(
    app: Sphinx, name: str, kind: type[object], options: object, bases: list[type[object] | str]
) -> None:
    """The bases of a generic class as its source has them: their parameters say what it takes and returns."""
    if not hasattr(kind, "__orig_bases__"):
        return
    (definition,) = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    bases[:] = [_linked_base(ast.unparse(base).replace("'", "")) for base in definition.bases]


def _linked_base(text: str) -> str:
    name, bracket, parameters = text.partition("[")
    return rf":py:class:`{name}`" + (rf"\ ``{bracket}{parameters}``" if bracket else "")


def link_code(app: Sphinx, doctree: nodes.document) -> None:
    """Make a link of each `code` that is a public name, but for those in titles and in links."""
    for literal in list(doctree.findall(nodes.literal)):
        path = public_paths().get(literal.astext().removesuffix("()"))
        if path is None or _is_within(
            literal, (nodes.reference, addnodes.pending_xref, nodes.title, addnodes.desc_signature)
        ):
            continue
        link = addnodes.pending_xref(
            "", refdomain="py", reftype="obj", reftarget=path, refexplicit=True, refwarn=True, refdoc=app.env.docname
        )
        link["is_code"] = True
        literal.replace_self(link)
        link += literal


def _is_within(node: nodes.Node, kinds: Sequence[type[nodes.Node]]) -> bool:
    parent = node.parent
    while parent is not None:
        if isinstance(parent, tuple(kinds)):
            return True
        parent = parent.parent
    return False


@cache
def own_modules() -> tuple[ModuleType, ...]:
    found = (module.name for module in pkgutil.walk_packages(typedloops.__path__, "typedloops."))
    return tuple(importlib.import_module(name) for name in found if ".compiled" not in name)


@cache
def own_names() -> frozenset[str]:
    """The names of everything in the modules of the library: type variables and internal types stand in signatures."""
    names: set[str] = set()
    for module in own_modules():
        for name, thing in vars(module).items():
            names |= {name, f"{module.__name__}.{name}"}
            if inspect.isclass(thing) or isinstance(thing, (TypeVar, typing_extensions.TypeVar)):
                names.add(f"{getattr(thing, '__module__', '')}.{name}")
    return frozenset(names)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.TextElement
) -> nodes.reference | nodes.TextElement | None:
    """A name in a signature under which the reference has nothing: a public one by another path, or no link."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    path = public_paths().get(target) or public_paths().get(target.rpartition(".")[2])
    domain = env.domains.python_domain
    if path in domain.objects:
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", path, node, text)
    if "is_code" in node:
        return text  # a member that the reference leaves out
    library = target.partition(".")[0]  # or a name in a module, as `nn` in `nn.Module`
    known = (
        (target in own_names() or library in own_names()) or library in OTHERS or target.rpartition(".")[0] in OTHERS
    )
    return text if known and node["reftype"] in {"class", "obj", "exc", "data", "attr"} else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("api", Api)
    app.connect("autodoc-process-signature", signature_as_written)
    app.connect("autodoc-process-bases", bases_as_written)
    app.connect("doctree-read", link_code)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
