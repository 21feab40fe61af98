"""Configs: what is written is what runs, and every mistake is told in one line."""

from pathlib import Path

import pytest

from glt.config import Config
from glt.errors import GltError
from glt.registry import names
from glt.sweeps.grid import Grid

FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
SWEEPS = [path for path in FILES if "\ngrid:" in path.read_text()]
CONFIGS = [path for path in FILES if path not in SWEEPS]


def load(*overrides, **options):
    return Config.load(None, overrides, **options)


def refused(call, *words):
    with pytest.raises(GltError) as error:
        call()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value), str(error.value)


def written(tmp_path, text, name="it.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# --- files


def test_the_defaults_need_no_file():
    config = load()
    assert (config.dataset.name, config.backbone.name, config.strategy.name) == ("cora", "gcn", "teddy")
    assert (config.schedule.name, config.train.epochs, config.seeds, config.name) == ("oneshot", 200, (0,), "run")


def test_a_file_with_every_section(tmp_path):
    path = written(
        tmp_path,
        """
        name: mine
        dataset: {name: csbm, nodes: 300}
        backbone: gat
        strategy:
          name: teddy
          scorer: {name: random, seed: 4}
          distil: held_out
        schedule: {name: geometric, levels: [5, 10]}
        train: {epochs: 3, lr: 1e-2}
        seeds: [3, 1]
        """,
    )
    config = Config.load(path)
    assert (config.name, config.dataset.nodes, config.backbone.name) == ("mine", 300, "gat")
    assert (config.strategy.scorer.seed, config.strategy.distil) == (4, "held_out")
    assert [level.number for level in config.schedule] == [5, 10]
    assert (config.train.epochs, config.train.lr, config.seeds) == (3, 0.01, (3, 1))


def test_a_file_is_named_after_itself(tmp_path):
    assert Config.load(written(tmp_path, "dataset: csbm", "my-run_2.yaml")).name == "my-run_2"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_of_this_repository_load(path):
    config = Config.load(path)
    assert config.name == path.stem
    assert config.dataset.name in names("datasets")
    assert list(config.schedule)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_sweeps_of_this_repository_load(path):
    grid = Grid.load(path)
    assert grid.name == path.stem and len(grid.points) > 1
    assert all(point.config.controls for point in grid.points)


def test_there_are_configs():
    assert {"demo", "demo-csbm"} <= {path.stem for path in CONFIGS}
    assert {"sweep-demo", "board-cora", "board-cora-open", "board-others"} == {path.stem for path in SWEEPS}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "mapping of sections"),
        ("- cora", "mapping of sections"),
        ("1: 2", "mapping of sections"),
        ("just text", "mapping of sections"),
        ("dataset: [", "not YAML"),
        ("dataset: !!python/object/apply:os.getcwd []", "not YAML"),
        ("dataset: 2024-99-99", "not YAML"),
        ("dataset: \0", "not YAML"),
        ("datset: cora", "did you mean 'dataset'"),
        ("dataset: coraa", "did you mean 'cora'"),
        ("dataset: {nodes: 5}", "name"),
        ("dataset: {name: csbm, node: 5}", "did you mean 'nodes'"),
        ("dataset: {name: csbm, nodes: many}", "'nodes' = 'many'"),
        ("dataset: {name: csbm, 5: 6}", "'5'"),
        ("dataset:", "None"),
        ("dataset: [cora]", "['cora']"),
        ("backbone: 5", "5"),
        ("backbone: {name: 5}", "unknown backbone 5"),
        ("backbone: {name: gcn, hidden: 0}", "'hidden' = 0"),
        ("strategy: {name: teddy, scorer: tedy}", "did you mean 'teddy'"),
        ("strategy: {name: teddy, scorer: {name: random, sed: 1}}", "did you mean 'seed'"),
        ("schedule: {name: geometric, levels: [5, 1]}", "levels"),
        ("schedule: {name: oneshot, graph: 1.0}", "'graph' = 1"),
        ("train: 5", "train = 5"),
        ("train: [epochs, 5]", "train"),
        ("train: {epoch: 5}", "did you mean 'epochs'"),
        ("train: {epochs: 0}", "'epochs' = 0"),
        ("train: {optimizer: sgd}", "'optimizer' = 'sgd'"),
        ("train: {1: 2}", "'1'"),
        ("name: a b", "'name' = 'a b'"),
        ("name: a/b", "'name' = 'a/b'"),
        ("name: ''", "'name' = ''"),
        ("name: ..", "name"),
        ("name: .", "name"),
        ("name: 5", "'name' = 5"),
        ("seeds: 0", "seeds = 0"),
        ("seeds: -1", "seeds = -1"),
        ("seeds: 1.5", "seeds = 1.5"),
        ("seeds: []", "seeds = []"),
        ("seeds: [0, 0]", "seeds = [0, 0]"),
        ("seeds: [0, -1]", "seeds = [0, -1]"),
        ("seeds: [0, 1.5]", "seeds = [0, 1.5]"),
        ("seeds: [0, [1]]", "seeds = [0, [1]]"),
        ("seeds: three", "seeds = 'three'"),
        ("seeds: {a: 1}", "seeds = "),
        ("seeds:", "seeds = None"),
        ("seeds: 100000000000000000000", "seeds"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path, text, words):
    refused(lambda: Config.load(written(tmp_path, text)), words)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    refused(lambda: Config.load(tmp_path / "none.yaml"), "none.yaml", "No such file")
    refused(lambda: Config.load(tmp_path), str(tmp_path))
    path = tmp_path / "binary.yaml"
    path.write_bytes(bytes(range(256)))
    refused(lambda: Config.load(path), "binary.yaml")


# --- overrides


def test_options_are_overridden_one_by_one(tmp_path):
    path = written(tmp_path, "backbone: {name: gat, hidden: 32, heads: 4}\ntrain: {epochs: 9, lr: 0.5}\nseeds: 3")
    config = Config.load(path, ["backbone.hidden=64", "train.epochs=7", "seeds=[4]", "name=other"])
    assert (config.backbone.name, config.backbone.hidden, config.backbone.heads) == ("gat", 64, 4)
    assert (config.train.epochs, config.train.lr, config.seeds, config.name) == (7, 0.5, (4,), "other")


def test_an_option_of_a_section_that_is_a_name_or_not_there(tmp_path):
    path = written(tmp_path, "backbone: sage")
    config = Config.load(path, ["backbone.hidden=8", "strategy.weight=0"])
    assert (config.backbone.name, config.backbone.hidden) == ("sage", 8)
    assert (config.strategy.name, config.strategy.weight) == ("teddy", 0)


def test_a_whole_section_can_be_replaced():
    config = load("dataset={name: csbm, nodes: 70}", "dataset.classes=3", "backbone=mlp")
    assert (config.dataset.nodes, config.dataset.classes, config.backbone.name) == (70, 3, "mlp")


def test_options_within_options():
    config = load("strategy.scorer=random", "strategy.scorer.seed=3")
    assert (config.strategy.scorer.name, config.strategy.scorer.seed) == ("random", 3)
    config = load("strategy.scorer={name: random, seed: 5}", "strategy.scorer.seed=6")
    assert config.strategy.scorer.seed == 6


@pytest.mark.parametrize("strategy", ["imp", "oneshot", "random"])
def test_an_option_of_a_piece_that_is_not_named_is_the_default_ones(strategy):
    config = load(f"strategy={strategy}", "strategy.pruner.granularity=unit")
    default = load(f"strategy={strategy}").strategy.pruner.name
    assert config.strategy.pruner.name == default and config.strategy.pruner.granularity.name == "unit"
    assert config.id == load(f"strategy={{name: {strategy}, pruner: {{name: {default}, granularity: unit}}}}").id
    block = ("strategy.pruner.granularity.name=block", "strategy.pruner.granularity.size=8")
    assert load(f"strategy={strategy}", *block).strategy.pruner.granularity.size == 8


def test_the_later_override_wins_and_the_file_stays(tmp_path):
    path = written(tmp_path, "train: {epochs: 9}")
    assert Config.load(path, ["train.epochs=7", "train.epochs=8"]).train.epochs == 8
    assert Config.load(path).train.epochs == 9


def test_sections_come_before_overrides():
    config = load("dataset.nodes=80", sections={"dataset": "csbm", "seeds": 2})
    assert (config.dataset.name, config.dataset.nodes, config.seeds) == ("csbm", 80, (0, 1))


def test_values_are_read_as_yaml():
    config = load("strategy.biases=true", "strategy.weight= 2.5 ", "schedule.graph=1e-1", "strategy.distil='all'")
    assert (config.strategy.biases, config.strategy.weight, config.schedule.graph) == (True, 2.5, 0.1)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["strategy"], "section.option=value"),
        (["=5"], "section.option=value"),
        ([""], "section.option=value"),
        (["datset=cora"], "did you mean 'dataset'"),
        (["datset.nodes=5"], "did you mean 'dataset'"),
        (["strategy.wieght=1"], "did you mean 'weight'"),
        (["strategy.weight=-1"], "'weight' = -1"),
        (["strategy.weight=.inf"], "'weight' = inf"),
        (["strategy=ugs", "strategy.edge_l1=.inf"], "'edge_l1' = inf"),
        (["strategy=wd_glt", "strategy.wasserstein=.inf"], "'wasserstein' = inf"),
        (["strategy=gebt", "strategy.threshold=.inf"], "'threshold' = inf"),
        (["strategy.weight=[1"], "not a YAML value"),
        (["strategy.weight=2024-99-99"], "not a YAML value"),
        (["strategy.weight=heavy"], "'weight' = 'heavy'"),
        (["strategy.scorer=tedy"], "did you mean 'teddy'"),
        (["strategy.scorer.seed=3"], "seed"),
        (["strategy=imp", "strategy.pruner.granularity.size=8"], "granularity 'element': unknown option 'size'"),
        (["strategy.=5"], "5"),
        (["strategy..a=5"], "''"),
        (["strategy=5", "strategy.weight=3"], "strategy"),
        (["strategy=[1]", "strategy.weight=3"], "strategy"),
        (["backbone.hidden=4", "backbone.hidden.x=3"], "hidden"),
        (["train.lr=0.1", "train.lr.x=5"], "lr"),
        (["train=5"], "train = 5"),
        (["train=5", "train.lr=1"], "train"),
        (["name.x=5"], "name=value"),
        (["seeds.x=5"], "seeds=value"),
        (["seeds=1.5"], "seeds = 1.5"),
    ],
)
def test_a_mistake_in_an_override_is_told(overrides, words):
    refused(lambda: load(*overrides), words)


# --- identity


def test_how_tickets_are_stored_is_no_part_of_the_experiment():
    assert load("initial=false").initial is False and load().initial is True
    assert load("initial=false").id == load().id
    refused(lambda: load("initial=maybe"), "'initial' = 'maybe'")


def test_the_specification_leaves_defaults_out():
    assert load().spec() == {
        "dataset": {"name": "cora"},
        "backbone": {"name": "gcn"},
        "strategy": {"name": "teddy"},
        "schedule": {"name": "oneshot"},
        "train": {},
    }
    spec = load("strategy.weight=1", "strategy.scorer=random", "train.epochs=200").spec()
    assert spec["strategy"] == {"name": "teddy", "scorer": {"name": "random"}, "weight": 1.0}
    assert spec["train"] == {}


def test_a_specification_builds_the_same_config():
    config = load(
        "dataset={name: csbm, nodes: 90}",
        "strategy.scorer={name: random, seed: 2}",
        "schedule={name: grid, graph: [0.1, 0.2]}",
    )
    again = Config(**config.spec())
    assert again.spec() == config.spec() and again.id == config.id
    assert list(again.schedule) == list(config.schedule)


def test_the_id_knows_what_matters_and_nothing_else(tmp_path):
    base = load("strategy.weight=3", "strategy.temperature=2")
    assert load("strategy.temperature=2", "strategy.weight=3.0").id == base.id, "in any order"
    assert load("strategy={temperature: 2, name: teddy, weight: 3}").id == base.id
    assert load("strategy.weight=3", "strategy.temperature=2", "strategy.biases=false").id == base.id, "a default"
    assert load("strategy.weight=3", "strategy.temperature=2", "seeds=7", "name=x").id == base.id
    path = written(tmp_path, "strategy: {name: teddy, weight: 3, temperature: 2}", "another.yaml")
    assert Config.load(path).id == base.id
    changes = ("strategy.weight=4", "backbone=gin", "dataset=pubmed", "schedule.graph=0.5", "train.lr=0.1")
    assert len({load("strategy.weight=3", "strategy.temperature=2", c).id for c in changes} | {base.id}) == 6


GOLDEN = {
    "070b82ab5e65": [],
    "a5e8986b7fda": [
        "dataset=citeseer",
        "backbone={name: gin, mlp_layers: 1}",
        "strategy={name: teddy, weight: 10, distil: held_out}",
        "schedule={name: geometric, graph_rate: 0.05, weight_rate: 0.1, levels: [1, 5, 10, 15, 20]}",
        "train={epochs: 200, lr: 0.01, weight_decay: 0.0005}",
        "seeds=5",
    ],
    "a218ac00b6d7": [
        "dataset={name: csbm, nodes: 300, avg_degree: 4}",
        "backbone={name: gat, hidden: 64}",
        "strategy={name: teddy, scorer: {name: random, seed: 3}, weight: 0, biases: true}",
        "schedule={name: grid, graph: [0.2, 0.4], weight: [0.5]}",
        "train={epochs: 50, optimizer: adamw}",
    ],
}


@pytest.mark.parametrize(("digest", "overrides"), GOLDEN.items())
def test_ids_never_change(digest, overrides):
    """A new option needs a default that leaves everything as it was; then old results keep their names."""
    assert load(*overrides).id == digest
