"""The environment that LiteLLM runs with. Standard library only; it holds keys, so never print it."""

from __future__ import annotations

ENGINE_KEY = "STACKCTL_ENGINE_KEY"
_LOOPBACK = "127.0.0.1,localhost,::1"


def gateway_env(
    *, master_key: str, client_key: str, host_url: str, keys: dict[str, str], alone: bool
) -> dict[str, str]:
    """The variables that LiteLLM needs to serve this stack, beside PATH, HOME and the like.

    `master_key` only lets LiteLLM start (it refuses to without one); nobody is told it. `client_key` is what clients
    send. `host_url` is the gateway's own origin, for example `http://127.0.0.1:4000`. `keys` are those of engines and
    providers, by the names that the rendered configuration refers to; `alone` says that there is one engine and no other. Each row was read in LiteLLM 1.106.2's source.
    """
    env = {
        # keys, which the rendered configuration names by `os.environ/...`
        "LITELLM_MASTER_KEY": master_key,
        "STACKCTL_CLIENT_KEY": client_key,
        # `DEV`, the default, reads a `.env` file from the working directory
        "LITELLM_MODE": "PRODUCTION",
        # what it would else fetch from the network: prices at boot, Anthropic's beta headers at the first message,
        # news for the admin pages, presets and policies for pages that the gate refuses anyway
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_LOCAL_BLOG_POSTS": "True",
        "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
        "LITELLM_LOCAL_POLICY_TEMPLATES": "true",
        "LITELLM_OFFLINE_MODE": "true",  # not in 1.106.2; later versions know it
        "HF_HUB_OFFLINE": "1",  # no tokenizer from the hub
        "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",  # nor a picture that a request names by its address
        # telemetry, of LiteLLM and of what it imports
        "LITELLM_TELEMETRY_DISABLED": "true",
        "DO_NOT_TRACK": "1",
        # a web page may not call the gateway from a browser; unset means `*`
        "LITELLM_CORS_ORIGINS": host_url,
        "LITELLM_CORS_ALLOW_CREDENTIALS": "false",
        # pages that a stack of one user does not need
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
        "NO_REDOC": "True",
        "NO_OPENAPI": "True",
        "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
        # aiohttp and httpx would send even 127.0.0.1 through a proxy
        "NO_PROXY": _LOOPBACK,
        "no_proxy": _LOOPBACK,
    }
    env |= keys
    # For `anthropic/` models: only without an `api_key` in the configuration does LiteLLM send this one, as
    # `Authorization: Bearer`, which is all that vLLM reads. With `api_key` it sends `x-api-key`; vLLM answers 401 and
    # count_tokens silently becomes a guess. It is one for the whole process, so where there are several engines, or
    # providers, each row has a header of its own instead, and the gate counts tokens.
    if alone:
        env["ANTHROPIC_AUTH_TOKEN"] = keys[ENGINE_KEY]
    return env
