"""Every backbone, and every choice among the options of each, found in the registry."""

from glt.registry import build, get, names, options

SMALL = {"hidden": 8, "layers": 2}


def choices(name):
    """(id, spec) of a backbone as it is, then with every other value of an option, one option at a time."""
    found = [{}]
    for option in options(get("backbones", name)):
        values = [True, False] if option.type == "bool" else option.type.split(" or ")
        if len(values) > 1 and "float" not in values:
            found += [{option.name: value} for value in values if value != option.default]
    return [("-".join([name, *(f"{k}={v}" for k, v in c.items())]), {"name": name, **c}) for c in found]


STACKS = [name for name in names("backbones") if "residual" in {o.name for o in options(get("backbones", name))}]
"""Those that are convolutions alone; others have linear maps around them, and residuals always."""
CHOICES = dict(choice for name in names("backbones") for choice in choices(name))


def small(name, **spec):
    """A backbone that is quick to train: its own options, of ``spec`` and :data:`SMALL` those that it has."""
    known = {option.name for option in options(get("backbones", name))}
    return build("backbones", {"name": name, **{k: v for k, v in {**SMALL, **spec}.items() if k in known}})
