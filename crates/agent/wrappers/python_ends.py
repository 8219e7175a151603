"""The second half of python_bot.py, which runs it in its own namespace: what is needed when a bot ends, or is async."""


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


def _stop_asked():
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
