"""Runs a bot written in Python: a file with main(bot_id, config), sync or async.

Only modules that the interpreter has loaded anyway are imported before the bot's own: every bot start pays for more.
"""
import os
import sys
import _signal  # `signal` without the enums

_CODE = os.getcwd()
_RESULT = "/" + os.environ["CODE_MOUNT_DIR"] + "/result.json"
_ENV_BYTES_MAX = 120 * 1024


class Stop(BaseException):
    """Raised in main when the bot is to stop, so that its `finally` blocks run. Not an Exception: `except Exception` lets it pass."""


class _Bot:
    module = None
    stopping = False  # asked to stop
    interruptible = True  # Stop may be raised in the main thread
    loop = None
    task = None


def _write_result(result, keep=True):
    """Leaves the result, unless the bot has left one that is to be kept."""
    if keep and os.path.exists(_RESULT):
        return
    import json

    try:
        text = json.dumps(result)
    except (TypeError, ValueError, RecursionError) as error:
        print(f"the value main returned is not kept, it is not JSON: {error}", file=sys.stderr)
        text = '{"status": "success", "message": "Bot executed successfully"}'
    try:
        with open(_RESULT + ".tmp", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(_RESULT + ".tmp", _RESULT)
    except OSError as error:
        print(f"the result could not be written: {error}", file=sys.stderr)


def _bot_reported_error():
    import json

    try:
        with open(_RESULT, encoding="utf-8") as file:
            return json.load(file).get("status") == "error"
    except (OSError, ValueError, AttributeError):
        return False


def _call_stop():
    """Calls the bot's on_stop or stop, once. What it raises is shown and does not keep the bot from stopping."""
    handler = getattr(_Bot.module, "on_stop", None) or getattr(_Bot.module, "stop", None)
    if not callable(handler):
        return None
    code = getattr(handler, "__func__", handler)
    code = getattr(code, "__code__", None)
    bound = 1 if hasattr(handler, "__self__") else 0
    # One argument, or any number of them: it wants the reason.
    wants = code is None or code.co_argcount > bound or code.co_flags & 0x04
    try:
        return handler("SIGTERM") if wants else handler()
    except Exception as error:
        sys.__excepthook__(type(error), error, error.__traceback__)
        return None


def _on_signal(_number, _frame):
    if _Bot.stopping:
        return
    _Bot.stopping = True
    if _Bot.loop is not None:
        _Bot.loop.call_soon_threadsafe(_stop_async)
        return
    outcome = _call_stop()
    if hasattr(outcome, "__await__"):
        import asyncio

        async def wait():
            await outcome

        asyncio.run(wait())
    if _Bot.interruptible:
        raise Stop()


def _stop_async():
    async def stop():
        try:
            outcome = _call_stop()
            if hasattr(outcome, "__await__"):
                await outcome
        except Exception as error:
            sys.__excepthook__(type(error), error, error.__traceback__)
        finally:
            _Bot.task.cancel()

    _Bot.stopper = _Bot.loop.create_task(stop())


def _run_async(awaitable):
    import asyncio

    async def run():
        _Bot.loop = asyncio.get_running_loop()
        _Bot.task = asyncio.current_task()
        if _Bot.stopping:
            raise Stop()
        try:
            return await awaitable
        except asyncio.CancelledError:
            if _Bot.stopping:
                raise Stop() from None
            raise
        finally:
            _Bot.loop = None

    return asyncio.run(run())


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
    if hasattr(value, "__await__"):
        value = _run_async(value)
    # A bot may have left its work to threads; the interpreter would wait for them anyway, deaf to Stop.
    _join_threads(None)
    _Bot.interruptible = False
    _write_result(value if isinstance(value, dict) else {"status": "success", "message": "Bot executed successfully"})
    return 0


def _join_threads(seconds):
    threading = sys.modules.get("threading")
    if threading is None:
        return
    import time

    end = None if seconds is None else time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(None if end is None else max(0, end - time.monotonic()))


def _stopped():
    _write_result({"status": "terminated", "message": "stopped by request"})
    _join_threads(5)
    if "atexit" in sys.modules:
        sys.modules["atexit"]._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    # Threads that did not end by now do not keep the process.
    os._exit(0)


def _failed(error):
    # Without the frames of this file.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error.__traceback__ = trace
    try:
        sys.excepthook(type(error), error, trace)  # the bot's own, if it has one
    except Exception:
        sys.__excepthook__(type(error), error, trace)
    if not _bot_reported_error():
        text = str(error)
        name = type(error).__name__
        _write_result({"status": "error", "message": f"{name}: {text}" if text else name}, keep=False)
    return 1


def _exited(exit):
    code = exit.code
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        if not _bot_reported_error():
            _write_result({"status": "error", "message": str(code)}, keep=False)
        return 1
    if code == 0:
        _write_result({"status": "success", "message": "Bot executed successfully"})
    else:
        _write_result({"status": "error", "message": f"exited with code {code}"})
    return code


def _main():
    _signal.signal(_signal.SIGTERM, _on_signal)
    _signal.signal(_signal.SIGINT, _on_signal)
    try:
        try:
            code = _run()
        finally:
            _Bot.interruptible = False
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
