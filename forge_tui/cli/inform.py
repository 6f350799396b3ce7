"""Show the machine and the settings: `doctor` and `config`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from forge_tui.errors import SettingsError, UsageError
from forge_tui.safe_io.printing import answers, say


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one command."""
    if name == "config":
        from forge_tui.settings.flags import add_flags, add_source_flags

        add_source_flags(parser)
        add_flags(parser)
    else:
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.add_argument("--engine", choices=("local", "ray"), default="local", help="ray: also a cluster's nodes")
        parser.add_argument("--address", metavar="TEXT", help="ray: HOST:PORT of a running cluster, or `auto`")
        parser.add_argument(
            "--trust-cluster", action="store_true", help="ray: look at a cluster without authentication"
        )


def run(arguments: argparse.Namespace, name: str) -> int:
    """Carry out one command."""
    return _doctor(arguments) if name == "doctor" else _config(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from forge_tui.resources.doctor import doctor_text
    from forge_tui.resources.manager import ResourceManager
    from forge_tui.resources.policy import DefaultThresholds
    from forge_tui.tui.options import read_resources

    nodes = _cluster(arguments)
    report = ResourceManager(settings=DefaultThresholds(**read_resources())).generate_resource_report()
    report["site"] = _site()
    if nodes is not None:
        report["cluster"] = {"nodes": nodes}
    if arguments.json:
        answers().write(json.dumps(report) + "\n")
        return 0
    answers().write(doctor_text(report))
    if nodes is not None:
        from forge_tui.engines.ray.doctor import cluster_text

        answers().write("\n" + cluster_text(nodes))
    return 0


def _site() -> dict[str, Any]:
    """The site-wide settings: their files, the keys that they lock, and what is wrong with them."""
    from forge_tui.settings.site import read_site
    from forge_tui.settings.site_file import site_settings_files

    try:
        files = [str(path) for path in site_settings_files()]
        site = read_site()
    except SettingsError as error:
        return {"files": [], "values": {}, "locked": {}, "problem": str(error)}
    locked = {lock.name: lock.place for lock in site.locks}
    return {"files": files, "values": dict(site.values), "locked": locked, "problem": None}


def _cluster(arguments: argparse.Namespace) -> list[dict[str, Any]] | None:
    """The nodes of the cluster that was asked for."""
    if arguments.engine != "ray":
        if arguments.address is not None or arguments.trust_cluster:
            raise UsageError("--address and --trust-cluster are of the Ray engine; add --engine ray")
        return None
    from forge_tui.engines.ray.doctor import cluster_report
    from forge_tui.settings.engine import require_ray
    from forge_tui.settings.setting_layers import resolve_settings

    flags = {"engine.name": "ray", "engine.address": arguments.address, "engine.trust_cluster": arguments.trust_cluster}
    given = {name: value for name, value in flags.items() if value}
    resolve_settings(flags=given, environment={}, use_user_file=False)  # refuses what the site has locked
    require_ray()
    say("asking the nodes of the Ray cluster…")
    return cluster_report(arguments.address, trust=arguments.trust_cluster)


def _config(arguments: argparse.Namespace) -> int:
    from forge_tui.settings.config_rows import config_rows
    from forge_tui.settings.flags import resolve_arguments
    from forge_tui.text.figures import table

    resolved = resolve_arguments(arguments)
    rows = config_rows(resolved)
    if resolved.settings.run.json:
        locked = resolved.site.lock_of
        records = (
            {"key": key, "value": value, "source": source, "locked": locked(key) is not None}
            for key, value, source in rows
        )
        print(json.dumps(list(records)))
    else:
        sys.stdout.write(table(("KEY", "VALUE", "FROM"), rows))
    return 0
