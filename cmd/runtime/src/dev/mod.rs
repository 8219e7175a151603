//! `runtime dev`: what comes before the service runs.

pub(crate) mod data_dir;
mod lock;
mod logging;
pub(crate) mod summary;
pub(crate) mod tools;

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use data_dir::DataDir;

use crate::{
    cli::DevArgs,
    exit::{Exit, Failure},
    output, settings, wire,
};

/// Checks everything that can be checked, and runs the service.
pub(crate) fn run(args: &DevArgs) -> Result<Exit, Failure> {
    let environment = settings::environment();
    let settings = settings::load(args, &environment)?;
    if args.print_config {
        if args.json {
            output::json(&settings::as_json(&settings))?;
        } else {
            output::bytes(settings::as_yaml(&settings).as_bytes())?;
        }
        return Ok(Exit::Ok);
    }
    let data = DataDir::open(&settings.data_dir, settings.min_free_bytes)?;
    let mut lock = lock::Lock::take(&data)?;
    let listener = bind(settings.listen)?;
    lock.tell(listener.local_addr()?);
    logging::start(&settings);
    // Two threads serve a thousand bots: what takes time is done by others (the kernel, Docker, blocking threads).
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_keep_alive(std::time::Duration::from_secs(5))
        .enable_all()
        .build()?;
    let ended = runtime.block_on(wire::dev::run(&settings, &environment, &data, listener));
    // A blocking thread may hang in a broken file system; the bots do not depend on us.
    runtime.shutdown_background();
    ended
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let port = address.port();
        if error.kind() == io::ErrorKind::AddrInUse {
            let who = format!(
                "`ss -ltnp 'sport = :{port}'` shows which; if it is a runtime, `runtime status` asks it"
            );
            return Failure::new(
                Exit::Conflict,
                format!("port {port} of {} is taken by another program", address.ip()),
            )
            .and(who)
            .and("choose another with --listen, for example --listen 127.0.0.1:0 for any free one");
        }
        Failure::usage(format!("cannot listen on {address}: {error}; choose another address with --listen"))
    })
}
