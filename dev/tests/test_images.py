import json
import re
import shutil
from pathlib import Path

import pytest

from muster_dev import image_archive, projects, records, rust
from muster_dev.errors import SetupError
from muster_dev.image_loading import lacking_images
from muster_dev.images import NEXT, PYTHON_IMAGES, SERVERS, chart_values, make_next
from muster_dev.paths import Paths, from_environment
from muster_dev.registry import Registry

REPO = from_environment({"HOME": "/root"}).repo


def test_values_for_the_chart_name_repository_and_tag() -> None:
    built = {"operator": "muster/operator:abc", "postgres": "postgres:17"}
    values = json.loads(chart_values(built, registry="registry.example:5000/x"))
    assert values["images"]["operator"] == {"repository": "muster/operator", "tag": "abc"}
    assert values["images"]["postgres"] == {"repository": "postgres", "tag": "17"}
    assert values["images"]["registry"] == "registry.example:5000/x"
    assert "registry" not in json.loads(chart_values(built))["images"]


def test_the_next_version_is_the_same_image_that_says_it_is_another(tmp_path: Path) -> None:
    place = "opt/muster/lib/python3.13/site-packages/muster_worker-0.1.0.dist-info/METADATA"
    with image_archive.Layer(tmp_path / "layer.tar") as layer:
        layer.text(place, "Metadata-Version: 2.4\nName: muster-worker\nVersion: 0.1.0\n")
    same = tmp_path / "same.tar"
    image_archive.write(same, "muster/worker:a", [tmp_path / "layer.tar"], {})
    make_next(same, "muster/worker:a-next", "muster-worker", tmp_path)
    found = image_archive.find(tmp_path / "image.tar", place)
    said = b"Metadata-Version: 2.4\nName: muster-worker\nVersion: 0.1.0+next\n"
    assert found == (place, said)


def test_a_node_lacks_what_its_list_does_not_name_in_full() -> None:
    listed = "docker.io/muster/worker:a\ndocker.io/library/postgres:17\n"
    wanted = ["muster/worker:a", "muster/worker:b", "postgres:17", "muster/operator:a"]
    assert lacking_images(listed, wanted) == ["muster/worker:b", "muster/operator:a"]


@pytest.mark.parametrize("name", [image.name for image in PYTHON_IMAGES])
def test_every_image_has_its_dockerfile_and_its_package(name: str) -> None:
    known = projects.discover(REPO)
    closure = projects.closure(known, f"muster-{name}")
    assert f"muster-{name}" in [project.name for project in closure]
    folder = known[f"muster-{name}"].folder
    dockerfile = (folder / "Dockerfile").read_text()
    assert "USER 65532" in dockerfile
    assert f'ENTRYPOINT ["muster-{name}"]' in dockerfile


def test_what_is_upgraded_in_tests_is_an_image_of_ours() -> None:
    assert set(NEXT.values()) <= {image.name for image in PYTHON_IMAGES}


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_has_a_dockerfile_and_runs_as_nobody_special(name: str) -> None:
    dockerfile = (REPO / "images" / name / "Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", dockerfile, re.MULTILINE)


def test_only_the_images_that_prove_have_the_prover() -> None:
    known = projects.discover(REPO)
    with_prover = {
        name
        for name in ("operator", "coordinator", "worker")
        if projects.NATIVE in {p.name for p in projects.closure(known, f"muster-{name}")}
    }
    assert with_prover == {"coordinator", "worker"}


def make_project(root: Path, name: str, needs: str = "") -> None:
    folder = root / "packages" / name
    (folder / "src").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "src" / "code.py").write_text("x = 1\n")
    (folder / "tests" / "test_code.py").write_text("")
    depends = f'dependencies = ["{needs}==0.1.0"]' if needs else ""
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n{depends}\n')


def test_a_digest_follows_the_sources_and_not_the_tests(tmp_path: Path) -> None:
    make_project(tmp_path, "muster-a", "muster-b")
    make_project(tmp_path, "muster-b")
    known = projects.discover(tmp_path)

    def digest() -> str:
        return projects.digest(projects.closure(known, "muster-a"))

    before = digest()
    (tmp_path / "packages/muster-b/tests/test_code.py").write_text("assert True\n")
    assert digest() == before
    (tmp_path / "packages/muster-b/src/code.py").write_text("x = 2\n")
    assert digest() != before


def test_a_digest_does_not_follow_a_package_within(tmp_path: Path) -> None:
    make_project(tmp_path, "muster-a")
    outer = projects.discover(tmp_path)["muster-a"]
    before = projects.digest([outer])
    inner = outer.folder / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text('[project]\nname = "muster-b"\n')
    (inner / "code.py").write_text("x = 1\n")
    assert projects.digest([outer]) == before


def test_all_that_is_compiled_is_known() -> None:
    known = projects.discover(REPO)
    crates = {name for name, project in known.items() if (project.folder / "Cargo.pins").exists()}
    assert crates == set(projects.COMPILED)
    folders = {project.folder.relative_to(REPO).as_posix() for project in known.values()}
    assert set(rust.CRATES) <= folders


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_project(tmp_path, "muster-a", "muster-b")
    with pytest.raises(SetupError, match="muster-b is not in the checkout"):
        projects.closure(projects.discover(tmp_path), "muster-a")


class SilentDocker:
    def __init__(self) -> None:
        self.pulls = 0

    def has_image(self, reference: str) -> bool:
        return reference == "there:1"

    def can_pull(self, reference: str, timeout: float) -> bool:
        self.pulls += 1
        return False


def test_a_registry_that_does_not_answer_is_not_asked_again(tmp_path: Path) -> None:
    docker = SilentDocker()
    registry = Registry(docker, tmp_path)  # type: ignore[arg-type]
    assert not registry.provides("image:1")
    assert not registry.provides("image:2")
    assert registry.provides("there:1")
    assert docker.pulls == 1


def test_a_record_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    paths = Paths(REPO, tmp_path / "cache", tmp_path / "state")
    record = records.Record(
        "demo",
        nodes=2,
        image="i:1",
        published=((38080, 30080),),
        addresses={"demo-w": "172.29.0.2"},
    )
    assert records.load(paths, "demo") is None
    records.save(paths, record)
    assert records.load(paths, "demo") == record
    assert records.load_all(paths) == [record]
    records.forget_completion(paths, "demo")
    assert records.load_all(paths) == []
    shutil.rmtree(paths.state)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "demo", "published": [], "size": 3}'])
def test_a_cluster_of_another_version_counts_as_unfinished(tmp_path: Path, text: str) -> None:
    paths = Paths(REPO, tmp_path / "cache", tmp_path / "state")
    records.save(paths, records.Record(name="demo"))
    (paths.cluster("demo") / "cluster.json").write_text(text)
    assert records.load(paths, "demo") is None
    assert records.load_all(paths) == []


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a" * 41, "a/b"])
def test_an_impossible_cluster_name_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match="is not possible"):
        records.check_name(name)


@pytest.mark.parametrize("name", ["a", "muster-demo", "a" * 40])
def test_a_possible_cluster_name_is_taken(name: str) -> None:
    records.check_name(name)
