"""The environment of a charm's process: built from nothing, so no HOME, USER or LOGNAME."""

from localjuju import paths
from localjuju.entities import Records
from localjuju.hook_context import HookContext

JUJU_VERSION = "3.6.9"
AGENT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
PROXIES = {
    "JUJU_CHARM_HTTP_PROXY": "juju-http-proxy",
    "JUJU_CHARM_HTTPS_PROXY": "juju-https-proxy",
    "JUJU_CHARM_FTP_PROXY": "juju-ftp-proxy",
    "JUJU_CHARM_NO_PROXY": "juju-no-proxy",
}


def build(context: HookContext, gateway: str) -> dict[str, str]:
    """Return the environment of one run."""
    tag = paths.unit_tag(context.unit_name)
    charm = paths.charm_directory(context.unit_name)
    environment = {
        "PATH": f"/{paths.TOOLS}/{tag}:{AGENT_PATH}",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "APT_LISTCHANGES_FRONTEND": "none",
        "TERM": "tmux-256color",
        "CHARM_DIR": charm,
        "JUJU_CHARM_DIR": charm,
        "JUJU_CONTEXT_ID": context.context_id,
        "JUJU_AGENT_SOCKET_ADDRESS": f"/{paths.AGENTS}/{tag}/agent.socket",
        "JUJU_AGENT_SOCKET_NETWORK": "unix",
        "JUJU_UNIT_NAME": context.unit_name,
        "JUJU_HOOK_NAME": context.hook.name if context.hook is not None else "",
    }
    environment.update(_model(context, gateway))
    if context.hook is not None:
        environment["JUJU_DISPATCH_PATH"] = f"hooks/{context.hook.name}"
    environment.update(_relation(context))
    environment.update(_storage(context, context.records))
    environment.update(_secret(context))
    if context.kind == "action" and context.task is not None:
        environment |= {
            "JUJU_DISPATCH_PATH": f"actions/{context.task.name}",
            "JUJU_ACTION_NAME": context.task.name,
            "JUJU_ACTION_UUID": context.task.id,
            "JUJU_ACTION_TAG": f"action-{context.task.id}",
        }
    return environment


def _model(context: HookContext, gateway: str) -> dict[str, str]:
    model = context.records.model
    return {
        "JUJU_MODEL_NAME": model.name,
        "JUJU_MODEL_UUID": model.uuid,
        "JUJU_MACHINE_ID": context.unit.machine,
        "JUJU_PRINCIPAL_UNIT": context.unit.principal,
        "JUJU_AVAILABILITY_ZONE": "",
        "JUJU_API_ADDRESSES": f"{gateway}:17070" if gateway else "",
        "CLOUD_API_VERSION": "",
        "JUJU_VERSION": JUJU_VERSION,
        "JUJU_SLA": "unsupported",
        "JUJU_METER_STATUS": "AMBER",
        "JUJU_METER_INFO": "not set",
        **{name: str(model.config.get(key, "")) for name, key in PROXIES.items()},
    }


def _relation(context: HookContext) -> dict[str, str]:
    if context.relation is None:
        return {}
    relation = context.find_relation(context.relation)
    if relation is None:
        return {}
    endpoint = context.endpoint(relation)
    found = {
        "JUJU_RELATION": endpoint,
        "JUJU_RELATION_ID": f"{endpoint}:{relation.number}",
        "JUJU_REMOTE_UNIT": context.remote_unit,
        "JUJU_REMOTE_APP": context.remote_app or context.counterpart(relation),
    }
    hook = context.hook
    if hook is not None and hook.kind == "relation-departed":
        found["JUJU_DEPARTING_UNIT"] = hook.departing_unit
    return found


def _storage(context: HookContext, records: Records) -> dict[str, str]:
    hook = context.hook
    if hook is None or not hook.storage:
        return {}
    item = records.storage[hook.storage]
    return {
        "JUJU_STORAGE_ID": item.id,
        "JUJU_STORAGE_LOCATION": item.location,
        "JUJU_STORAGE_KIND": item.kind,
    }


def _secret(context: HookContext) -> dict[str, str]:
    hook = context.hook
    if hook is None or not hook.secret:
        return {}
    found = {"JUJU_SECRET_ID": f"secret:{hook.secret}", "JUJU_SECRET_LABEL": hook.secret_label}
    if hook.kind in {"secret-remove", "secret-expired"}:
        found["JUJU_SECRET_REVISION"] = str(hook.secret_revision)
    return found
