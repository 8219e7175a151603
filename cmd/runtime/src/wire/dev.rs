//! `runtime dev`: every part of a single-process service, put together.

use std::{collections::BTreeMap, ffi::OsString, net::TcpListener, sync::Arc, time::Duration};

use the0_artifacts::{CodeCache, Limits, ObjectStores};
use the0_backends::sqlite::{Database, Options, terms::next_term};
use the0_bot_runner::{
    BotCommands, Bots, SERVICE, SqliteBotStore,
    grpc::{BotRunnerService, Bundles, ServiceInfo},
};
use the0_core::{
    Clock, DesiredState, Executor, OnError, Scope, SystemClock, Tasks, Wake,
    lifecycle::signals,
    reconcile::{Reconciler, ReconcilerConfig},
};
use the0_executor::{Provision, RunAs, UnitsDir};
use the0_model::{Generation, WorkerId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{code::CachedSource, executor, gate::Gate, serve};
use crate::{
    dev::{data_dir::DataDir, summary, tools},
    exit::{Exit, Failure},
    settings::{OnStop, Settings},
};

/// Bots per segment; with one process the number means nothing, but the store is the cluster's.
const BOTS_PER_SEGMENT: u32 = 10;
/// Unpacked bundles nobody needs are kept up to this size, in bytes.
const CODE_CACHE_BYTES: u64 = 1 << 30;
/// Longest wait for clients to leave and actions to end.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest wait for bots to end under `--on-stop stop`, beyond their grace.
const STOP_ALL: Duration = Duration::from_mins(2);

/// Runs the service until it is told to end.
pub(crate) async fn run(
    settings: &Settings,
    environment: &BTreeMap<String, OsString>,
    data: &DataDir,
    listener: TcpListener,
) -> Result<Exit, Failure> {
    // Listened for first: whoever ends us while we start is heard too.
    let draining = CancellationToken::new();
    signals::listen(draining.clone())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (started_at, tasks, wake) = (clock.now(), Tasks::new(), Wake::new());

    let database = Database::open(data.database(), Options::default()).await.map_err(anyhow::Error::new)?;
    let generation = Generation { term: next_term(&database).await.map_err(anyhow::Error::new)?, step: 0 };
    let store = Arc::new(SqliteBotStore::new(database.clone(), BOTS_PER_SEGMENT));
    let objects = Arc::new(ObjectStores::directory(data.objects()).allow_local_files(true));
    let cache =
        Arc::new(CodeCache::new(objects, data.code_cache(), Limits::default()).map_err(anyhow::Error::new)?);
    let bundles = Bundles::new(Arc::clone(&cache), data.spool())?;

    let installed = tools::install(data)?;
    let source = Arc::new(CachedSource(Arc::clone(&cache)));
    let provision =
        Provision::new(UnitsDir::new(data.units()), source, installed.clone(), RunAs::for_service());
    let chosen = executor::choose(settings, environment, data.id(), provision, &tasks).await?;
    let executor = Arc::clone(&chosen.executor);
    tools::prune(data, &installed, executor.as_ref()).await;

    let bots = Arc::new(Bots::new(store, Arc::clone(&clock)));
    let commands = BotCommands::new(&bots, Arc::clone(&executor), wake.clone());
    prune_code(&bots, &cache).await;
    let (scope, scope_seen) = watch::channel(Scope::All { generation });
    let config = ReconcilerConfig { resync: settings.reconcile_interval, ..ReconcilerConfig::default() };
    let me = WorkerId::new("dev").map_err(anyhow::Error::new)?;
    let desired: Arc<dyn DesiredState> = bots;
    let reconciler =
        Reconciler::new(Arc::clone(&executor), desired, scope_seen, me, Arc::clone(&clock), wake, config);

    let info = ServiceInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: "dev".to_owned(),
        store: format!("sqlite {}", data.database().display()),
        objects: format!("directory {}", data.objects().display()),
        generation,
        started_at,
    };
    summary::print(&info, data, &listener, &executor.describe(), &chosen.why);
    let gate = Gate::new(RunAs::for_service().uid)
        .map_err(|error| Failure::failed(format!("/proc cannot be read: {error}")))?;
    let service = BotRunnerService::new(
        commands,
        Arc::clone(&executor),
        bundles,
        clock,
        info,
        reconciler.status(),
        draining.clone(),
    );
    tasks.spawn("api", OnError::Shutdown, serve::serve(listener, gate, service, draining.clone()));
    let reconciling = tasks.cancelled();
    tasks.spawn("reconciler", OnError::Shutdown, reconciler.run(reconciling.clone()));

    let failed = tokio::select! {
        () = draining.cancelled() => false,
        () = reconciling.cancelled() => true,
    };
    draining.cancel();
    if settings.on_stop == OnStop::Stop && !failed {
        scope.send_replace(Scope::Segments([].into()));
        stop_all(executor.as_ref()).await;
    }
    for straggler in tasks.shutdown(DRAIN).await {
        warn!(task = straggler, "did not end in time");
    }
    let _ = database.close().await;
    info!("ended; bots {}", if settings.on_stop == OnStop::Keep { "go on" } else { "were stopped" });
    if failed {
        Err(Failure::failed("a part of the service failed; see the log above"))
    } else {
        Ok(Exit::Ok)
    }
}

/// Waits until no unit is left.
async fn stop_all(executor: &dyn Executor) {
    let gone = async {
        loop {
            match executor.list(SERVICE).await {
                Ok(units) if units.is_empty() => return,
                Ok(units) => info!(units = units.len(), "waiting for bots to end"),
                Err(error) => warn!(%error, "cannot see whether bots have ended"),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    if tokio::time::timeout(STOP_ALL, gone).await.is_err() {
        warn!("some bots have not ended; they are found again at the next start");
    }
}

/// Makes room in the code cache; what stored bots need stays.
async fn prune_code(bots: &Bots, cache: &Arc<CodeCache>) {
    let everything = Scope::All { generation: Generation { term: 0, step: 0 } };
    let Ok(enabled) = bots.store().enabled(&everything).await else { return };
    // Which tree a bot without a digest runs from is not known here, so nothing is taken away.
    let Some(keep) = enabled.into_iter().map(|bot| bot.runtime.code_digest).collect::<Option<_>>() else {
        return;
    };
    let cache = Arc::clone(cache);
    let pruned = tokio::task::spawn_blocking(move || cache.prune(&keep, CODE_CACHE_BYTES)).await;
    if let Ok(Err(error)) = pruned {
        warn!(%error, "the code cache was not pruned");
    }
}
