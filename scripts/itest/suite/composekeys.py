"""The keys that compose knows where a person mistypes one: it says which it doesn't know, and not which was meant.

Source: schema/compose-spec.json of https://github.com/compose-spec/compose-spec (service, healthcheck,
network, volume). Only ever a suggestion: what is allowed, compose itself decides.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from itest.suite.yamlfile import Keys

SERVICE = """
annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count
cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec depends_on deploy
develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose extends
external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links logging
mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable
oom_score_adj pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy read_only
restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs
tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir
"""
INNER: Mapping[str, str] = {  # of a service
    "healthcheck": "disable interval retries start_interval start_period test timeout",
    "build": "additional_contexts args cache_from cache_to context dockerfile dockerfile_inline entitlements"
    " extra_hosts isolation labels network no_cache platforms privileged pull secrets shm_size ssh tags target ulimits",
    "logging": "driver options",
}
TOP: Mapping[str, str] = {
    "networks": "attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam labels name",
    "volumes": "driver driver_opts external labels name",
}


def meant(keys: Keys) -> str:
    """What a person may have meant by the last of these keys, which compose doesn't know: a hint."""
    close = difflib.get_close_matches(str(keys[-1]), _known(keys[:-1]), n=1)
    return f"did you mean `{close[0]}`?" if close else "a key of your own begins with `x-`"


def _known(parents: Keys) -> list[str]:
    if len(parents) == 2:
        return (SERVICE if parents[0] == "services" else TOP.get(str(parents[0]), "")).split()
    return INNER.get(str(parents[-1]), "").split() if len(parents) == 3 else []
