"""Runs a bot written in Python: a file with main(bot_id, config), sync or async.

Only modules that the interpreter has loaded anyway are imported before the bot's own, and only what leads to it is
compiled: every bot start pays for more.
"""
import os
import sys
import _signal  # `signal` without the enums

_CODE = os.getcwd()
_RESULT = "/" + os.environ["CODE_MOUNT_DIR"] + "/result.json"
_ENV_BYTES_MAX = 120 * 1024
# Read now, while nothing can keep us from it.
with open(__file__[: -len("bot.py")] + "ends.py", "rb", buffering=0) as _file:
    _ENDS = _file.read()


class Stop(BaseException):
    """Raised in main when the bot is to stop, so that its `finally` blocks run. Not an Exception: `except Exception` lets it pass."""


class _Bot:
    module = None
    stopping = False  # asked to stop
    interruptible = True  # Stop may be raised in the main thread
    loop = None
    task = None


def _ends():
    """Compiles the second half, once. The name of this file is given to it because `_failed` hides frames of this name."""
    if "_exited" not in globals():
        exec(compile(_ENDS, __file__, "exec"), globals())


def _on_signal(_number, _frame):
    _ends()
    _stop_asked()


def _config():
    with open(os.environ["BOT_CONFIG_FILE"], "rb") as file:
        data = file.read()
    text = data.decode()
    if len(data) < _ENV_BYTES_MAX:
        os.environ["BOT_CONFIG"] = text
    else:
        # Seen by this process alone: with a variable of this size it could start no other.
        os.environ._data[os.environ.encodekey("BOT_CONFIG")] = os.environ.encodevalue(text)
    return _parse(text)


def _parse(text):
    """json.loads, without loading the regular expressions that only its slow path needs."""
    if "json" not in sys.modules:
        try:
            import _json

            class context:
                strict, memo = True, {}
                object_hook = object_pairs_hook = None
                parse_float, parse_int = float, int
                parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__

            text = text.strip(" \t\n\r")
            value, end = _json.make_scanner(context)(text, 0)
            if end == len(text):
                return value
        except Exception:
            pass  # whatever it was: the whole parser decides, and has the words for it
    import json

    return json.loads(text)


def _load():
    script = os.path.join(_CODE, os.environ["SCRIPT_PATH"])
    folder = os.path.dirname(script)
    front = [_CODE, os.path.join(_CODE, "vendor")] + ([folder] if folder != _CODE else [])
    # sys.path[0] is the folder of this file.
    sys.path[:] = front + [path for path in sys.path[1:] if path not in front]
    try:
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import SourceFileLoader, spec_from_file_location
    except ImportError:
        from importlib.machinery import SourceFileLoader
        from importlib.util import module_from_spec, spec_from_file_location
    # As a package, so that the bot may import its neighbours relatively, too.
    spec = spec_from_file_location(
        "main", script, loader=SourceFileLoader("main", script), submodule_search_locations=[folder]
    )
    module = module_from_spec(spec)
    sys.modules["main"] = _Bot.module = module
    sys.argv[:] = [script]
    spec.loader.exec_module(module)
    main = getattr(module, "main", None)
    if not callable(main):
        raise TypeError(f"{os.environ['SCRIPT_PATH']} has no function main(bot_id, config)")
    return main


def _run():
    """Runs the bot; returns the exit code."""
    main = _load()
    value = main(os.environ["BOT_ID"], _config())
    _ends()
    if hasattr(value, "__await__"):
        value = _run_async(value)
    # A bot may have left its work to threads; the interpreter would wait for them anyway, deaf to Stop.
    _join_threads(None)
    _Bot.interruptible = False
    _write_result(value if isinstance(value, dict) else {"status": "success", "message": "Bot executed successfully"})
    return 0


def _main():
    _signal.signal(_signal.SIGTERM, _on_signal)
    _signal.signal(_signal.SIGINT, _on_signal)
    try:
        try:
            code = _run()
        finally:
            _Bot.interruptible = False
            _ends()
    except Stop:
        _stopped()
    except SystemExit as exit:
        if _Bot.stopping and not exit.code:
            _stopped()
        code = _exited(exit)
    except BaseException as error:
        code = _failed(error)
    return code


if __name__ == "__main__":
    sys.exit(_main())
