"""The shorthands of the format, written out: after this, each thing is said in one way.

    trigger: {cron: …}              →  trigger: [{kind: cron, cron: …}]
    secrets: [A: x, B]              →  secrets: [{name: A, value: x}, {name: B}]
    config: {secrets: …}            →  secrets: {NAME: secret}, beside a config without them
    retries: 3 · needs: a           →  retries: {max-retries: 3} · needs: [a]
    gather: true · if: true         →  gather: {} · if: "true"
    logs: {satellites: […]}         →  logs: […]

An optional key without a value is as good as left out. Nodes keep their place in the file, so that what the models
say of the result points at what was written. A shorthand that cannot be read is reported here and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from orbit_core.spec.diagnostics import Reporter, any_of, show
from orbit_core.spec.models.base import SECRET_NAME, SECRET_NAME_EXPECTED
from orbit_core.spec.nodes import Node, Path
from orbit_core.spec.references import SecretReference, close_match, parse_template
from orbit_core.spec.text_error import TextError

TRIGGER_KINDS: Final = ("cron", "api-call", "s3-upload", "webhook", "cluster-finished")
_CRON_KEYS: Final = ("cron", "timezone", "catch-up")
REFERENCE_EXPECTED: Final = "${{ secrets.NAME }}"


@dataclass(frozen=True, slots=True)
class Shaped:
    """A file written out. `incomplete`: paths of `root` where something was left out because it cannot be read.

    `empty`: the keys without a value, by their path in the file.
    """

    root: Node
    incomplete: frozenset[Path]
    empty: Mapping[Path, Node]


def shape(root: Node, reporter: Reporter) -> Shaped:
    """`root` with its shorthands written out. What is wrong with them is in `reporter`."""
    shaper = _Shaper(reporter)
    return Shaped(shaper.file(root), frozenset(shaper.incomplete), shaper.empty)


class _Shaper:
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.incomplete: set[Path] = set()
        self.empty: dict[Path, Node] = {}

    def file(self, root: Node) -> Node:
        cluster = root.get("cluster")
        if root.mapping is None or cluster is None or cluster.mapping is None:
            return root
        return root.with_value({**root.mapping, "cluster": self._cluster(cluster, cluster.mapping)})

    def _cluster(self, cluster: Node, written: dict[str, Node]) -> Node:
        rewrite: dict[str, Callable[[Node], Node | None]] = {
            "trigger": self._triggers,
            "retries": self._retries,
            "secrets": self._secrets,
            "satellites": self._steps,
            "logs": self._logs,
            "failure": self._failure,
        }
        return cluster.with_value(self._rewritten(written, rewrite))

    def _rewritten(
        self, written: dict[str, Node], rewrite: dict[str, Callable[[Node], Node | None]]
    ) -> dict[str, Node]:
        result: dict[str, Node] = {}
        for key, node in written.items():
            if node.value is None:
                self.empty[node.path] = node
                continue
            new = rewrite[key](node) if key in rewrite else node
            if new is not None:
                result[key] = new
        return result

    # Triggers

    def _triggers(self, node: Node) -> Node:
        written = node.items if node.items is not None else [node]
        triggers: list[Node] = []
        for item in written:
            trigger = self._trigger(item, ("cluster", "trigger", len(triggers)))
            triggers += [trigger] if trigger is not None else []
        if written and not triggers:
            self.incomplete.add(("cluster", "trigger"))
            triggers = [Node({"kind": Node("api-call", node.path, node.at)}, node.path, node.at)]
        return node.with_value(triggers)

    def _trigger(self, node: Node, place: Path) -> Node | None:
        """The trigger in `node`, which will stand at `place`."""
        if node.mapping is None:
            word = node.value if isinstance(node.value, str) else None
            kind = close_match(word, TRIGGER_KINDS) if word else None
            self._reporter.at(
                node,
                "wrong-type",
                "a trigger is a mapping",
                found=show(node.plain()),
                expected=any_of(TRIGGER_KINDS) + " with its value",
                suggestion=f"{kind}: true" if kind == "api-call" else f"{kind}: …" if kind else None,
            )
            return None
        kinds = [key for key in node.mapping if key in TRIGGER_KINDS]
        if len(kinds) == 1:
            return self._trigger_of(kinds[0], node, node.mapping, place)
        if kinds:
            self._reporter.at(
                node.mapping[kinds[1]],
                "several-kinds",
                "one trigger has one kind",
                on_key=True,
                found=" and ".join(kinds),
                expected="a list of triggers",
            )
        else:
            self._no_kind(node, node.mapping)
        return None

    def _no_kind(self, node: Node, written: dict[str, Node]) -> None:
        for key, value in written.items():
            if key not in _CRON_KEYS:
                self._reporter.unknown_key(value, key, TRIGGER_KINDS)
        if all(key in _CRON_KEYS for key in written):
            self._reporter.at(node, "missing-key", "the trigger has no kind", expected=any_of(TRIGGER_KINDS))

    def _trigger_of(self, kind: str, node: Node, written: dict[str, Node], place: Path) -> Node | None:
        allowed = _CRON_KEYS if kind == "cron" else (kind,)
        for key, value in written.items():
            if key not in allowed:
                self._reporter.unknown_key(value, key, allowed)
        value = written[kind]
        of_kind = {"kind": Node(kind, node.path, node.at)}
        if kind == "cron":
            said = {key: item for key, item in written.items() if key in allowed}
            return node.with_value({**of_kind, **self._rewritten(said, {})})
        if kind == "cluster-finished":
            return node.with_value({**of_kind, "cluster": value})
        if kind == "api-call":
            if value.value is not True:
                self._reporter.at(
                    value,
                    "wrong-value",
                    "a trigger that is off is left out",
                    found=show(value.plain()),
                    expected="true",
                )
            return node.with_value(of_kind)
        if value.mapping is None:
            self._reporter.at(
                value,
                "wrong-type",
                f"`{kind}` has the wrong type",
                found=show(value.plain()),
                expected="a mapping",
            )
            return None
        return value.with_value({**of_kind, **self._trigger_fields(kind, value.mapping, place)})

    def _trigger_fields(self, kind: str, written: dict[str, Node], place: Path) -> dict[str, Node]:
        fields = self._rewritten(written, {})
        allowed = {
            "webhook": ("path", "secret"),
            "s3-upload": ("bucket", "prefix", "suffix", "endpoint-url", "region", "secrets"),
        }[kind]
        if "kind" in fields:
            self._reporter.unknown_key(fields.pop("kind"), "kind", allowed)
        if kind == "webhook" and "secret" in fields:
            name = self._secret_named(fields.pop("secret"), allow_name=True)
            if name is None:
                self.incomplete.add((*place, "secret"))
            else:
                fields["secret"] = name
        if kind == "s3-upload" and "secrets" in fields:
            fields["secrets"] = self._step_secrets(fields["secrets"])
        return fields

    # Secrets

    def _named(self, node: Node) -> Iterator[tuple[str, Node]]:
        """The entries of a map, or of a list of one-key maps and names; a name alone has no value."""
        if node.mapping is not None:
            yield from node.mapping.items()
        elif node.items is not None:
            for item in node.items:
                if isinstance(item.value, str):
                    yield item.value, Node(None, item.path, item.at)
                elif item.mapping is not None and len(item.mapping) == 1:
                    yield from item.mapping.items()
                else:
                    self._reporter.at(
                        item,
                        "wrong-type",
                        "an item of `secrets` is one name, with or without a value",
                        found=f"a mapping of {len(item.mapping)} keys" if item.mapping else _kind(item),
                        expected="`NAME` or `NAME: value`",
                    )
        else:
            self._reporter.at(
                node,
                "wrong-type",
                "`secrets` has the wrong type",
                found="a value",  # it may be a secret
                expected="a mapping, or a list of one-key mappings and names",
            )

    def _valid_names(self, node: Node) -> Iterator[tuple[str, Node]]:
        seen: set[str] = set()
        for name, value in self._named(node):
            if not SECRET_NAME.fullmatch(name):
                self._reporter.at(
                    value,
                    "wrong-value",
                    "this cannot be a secret's name",
                    on_key=True,
                    found=show(name) if value.key_at else None,  # an item of a list may be a value put there
                    expected=SECRET_NAME_EXPECTED,
                )
            elif name in seen:
                self._reporter.at(value, "duplicate-secret", f"the secret {show(name)} stands here twice", on_key=True)
            else:
                seen.add(name)
                yield name, value

    def _secrets(self, node: Node) -> Node:
        """`cluster.secrets`."""
        declared: list[Node] = []
        if node.mapping is None and node.items is None:
            self.incomplete.add(("cluster", "secrets"))
        for name, value in self._valid_names(node):
            entry = {"name": value.with_value(name)}
            if isinstance(value.value, str) and "${{" in value.value:
                reference = self._secret_named(value, is_private=True)
                entry.update({"reference": reference} if reference else {})
            elif isinstance(value.value, str):
                entry["value"] = value
            elif value.value is not None:
                self._reporter.at(
                    value,
                    "wrong-type",
                    "a secret is text",
                    found=_kind(value),
                    expected="text; a number is quoted",
                )
            declared.append(Node(entry, value.path, value.at, value.key_at))
        return node.with_value(declared)

    def _step_secrets(self, node: Node) -> Node:
        """`config.secrets`: what one step may read."""
        readable: dict[str, Node] = {}
        for name, value in self._valid_names(node):
            if value.value is None:
                readable[name] = value.with_value(name)
            elif (secret := self._secret_named(value)) is not None:
                readable[name] = secret
        return node.with_value(readable)

    def _secret_named(self, node: Node, *, allow_name: bool = False, is_private: bool = False) -> Node | None:
        """The name of the secret that `node` refers to. What it holds instead is not shown.

        `is_private`: not even what stands between its braces, since all of it may be a secret's value.
        """
        text = node.value.strip() if isinstance(node.value, str) else ""
        if allow_name and SECRET_NAME.fullmatch(text):
            return node.with_value(text)
        try:
            parts = parse_template(text)
        except TextError as error:
            hidden = TextError("this is not a reference to a secret", expected=REFERENCE_EXPECTED)
            self._reporter.text_error(node, "bad-reference", hidden if is_private else error, show_found=False)
            return None
        if len(parts) == 1 and isinstance(parts[0], SecretReference):
            if SECRET_NAME.fullmatch(parts[0].name):
                return node.with_value(parts[0].name)
            message, found = "this cannot be a secret's name", show(parts[0].name)
            expected = SECRET_NAME_EXPECTED
        else:
            message, found = "only a reference to a secret may stand here", _kind(node)
            expected = f"{REFERENCE_EXPECTED}, with the value itself in `cluster.secrets` or in the vault"
        self._reporter.at(node, "literal-secret", message, found=found, expected=expected)
        return None

    # Steps

    def _retries(self, node: Node) -> Node:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return node.with_value({"max-retries": node})
        return node

    def _logs(self, node: Node) -> Node | None:
        if node.mapping is None:
            self._reporter.at(
                node,
                "wrong-type",
                "`logs` has the wrong type",
                found=show(node.plain()),
                expected="a mapping with `satellites`",
            )
            return None
        for key, value in node.mapping.items():
            if key != "satellites":
                self._reporter.unknown_key(value, key, ("satellites",))
        steps = node.mapping.get("satellites")
        if steps is None or steps.value is None or steps.items == []:
            self._reporter.at(steps or node, "missing-key", "`logs` has no steps", on_key=True, expected="`satellites`")
            return None
        return self._steps(steps)

    def _failure(self, node: Node) -> Node:
        if node.mapping is None:
            return node
        return node.with_value(self._rewritten(node.mapping, {"satellites": self._steps}))

    def _steps(self, node: Node) -> Node:
        if node.items is None:
            return node
        return node.with_value([self._step(item) for item in node.items])

    def _step(self, step: Node) -> Node:
        if step.mapping is None:
            return step
        written = dict(step.mapping)
        if "secrets" in written:
            self._reporter.at(
                written.pop("secrets"),
                "unknown-key",
                'unknown key "secrets"',
                on_key=True,
                suggestion="config.secrets",
            )
        rewrite: dict[str, Callable[[Node], Node | None]] = {
            "retries": self._retries,
            "needs": _as_list,
            "gather": lambda gather: self._gather(gather, written.get("needs")),
            "if": _as_condition,
        }
        config = written.get("config")
        result = self._rewritten(written, rewrite)
        if config is not None and config.mapping is not None and "secrets" in config.mapping:
            inside = dict(config.mapping)
            secrets = inside.pop("secrets")
            result["config"] = config.with_value(inside)
            if secrets.value is not None:
                result["secrets"] = self._step_secrets(secrets)
        return step.with_value(result)

    def _gather(self, gather: Node, needs: Node | None) -> Node | None:
        if gather.value is True:
            return gather.with_value({})
        if gather.value is not False:
            return gather
        if needs is not None and needs.items is not None and len(needs.items) > 1:
            self._reporter.at(
                gather,
                "wrong-value",
                "several needs are always gathered",
                found="false",
                expected="`gather` left out, true, or {over, when}",
            )
        return None


def _as_list(node: Node) -> Node:
    return node if node.items is not None else node.with_value([node])


def _as_condition(node: Node) -> Node:
    if isinstance(node.value, bool):
        return node.with_value("true" if node.value else "false")
    return node


def _kind(node: Node) -> str:
    """What a value is without showing it."""
    if isinstance(node.value, str):
        return "a literal value"
    return "a list" if node.items is not None else "a mapping" if node.mapping is not None else "a number"
