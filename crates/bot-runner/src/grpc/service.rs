//! The service itself: each RPC is a validated call and its conversion.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future, stream, stream::BoxStream};
use jiff::Timestamp;
use the0_core::{Clock, Executor, reconcile::PassStatus};
use the0_model::{BotId, Generation};
use the0_proto::bot::v1::{self as pb, bot_runner_server::BotRunner};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as watched};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{self, Show},
    deploy::Bundles,
    execute, logs,
    status::{draining, invalid, of_command},
    validate, watch,
};
use crate::{BotCommands, CommandError, SERVICE};

/// Streams at once: logs, events and executions together. Each holds a task's worth of memory and, with logs, a few
/// descriptors.
const STREAMS_MAX: usize = 512;
/// Longest wait for an answer that waits for no bot.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// What a service says of itself.
#[derive(Debug, Clone)]
pub struct ServiceInfo {
    /// Version of the program.
    pub version: String,
    /// How it is run: `dev`.
    pub mode: String,
    /// Where bots are kept, for people.
    pub store: String,
    /// Where bundles are kept, for people.
    pub objects: String,
    /// Under which it starts units.
    pub generation: Generation,
    /// When it started.
    pub started_at: Timestamp,
}

/// `the0.bot.v1.BotRunner`.
#[derive(Debug)]
pub struct BotRunnerService {
    commands: BotCommands,
    executor: Arc<dyn Executor>,
    bundles: Arc<Bundles>,
    clock: Arc<dyn Clock>,
    info: ServiceInfo,
    pass: watched::Receiver<PassStatus>,
    streams: Arc<Semaphore>,
    draining: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

impl BotRunnerService {
    /// A service over these parts. Every stream ends when `draining` is cancelled.
    pub fn new(
        commands: BotCommands,
        executor: Arc<dyn Executor>,
        bundles: Bundles,
        clock: Arc<dyn Clock>,
        info: ServiceInfo,
        pass: watched::Receiver<PassStatus>,
        draining: CancellationToken,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { commands, executor, bundles: Arc::new(bundles), clock, info, pass, streams, draining }
    }

    /// A stream that counts, and that ends when the service does.
    fn counted<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        items: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<BoxStream<'static, Result<T, Status>>> {
        let (ended, token) = (self.draining.clone(), self.draining.clone());
        let goodbye = stream::once(future::lazy(move |_| ended.is_cancelled()))
            .filter_map(|ended| future::ready(ended.then(|| Err(draining()))));
        let held = stream::once(async move {
            let _permit = permit;
            None
        })
        .filter_map(future::ready);
        Response::new(items.take_until(token.cancelled_owned()).chain(held).chain(goodbye).boxed())
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let busy = |_| Status::resource_exhausted(format!("{STREAMS_MAX} streams are open; close some"));
        Arc::clone(&self.streams).try_acquire_owned().map_err(busy)
    }

    /// Process ids of running units. Without an answer from the executor none is known, which is no reason to say nothing.
    async fn pids(&self) -> BTreeMap<String, u32> {
        let units = tokio::time::timeout(Duration::from_secs(5), self.executor.list(SERVICE)).await;
        let units = units.ok().and_then(Result::ok).unwrap_or_default();
        units.into_iter().filter_map(|unit| Some((unit.id.as_bot()?.to_string(), unit.pid?))).collect()
    }

    async fn shown(&self, view: &crate::BotView, show: Show) -> pb::Bot {
        let pid = self.pids().await.get(view.bot.id.as_str()).copied();
        convert::bot(view, show, pid)
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, CommandError>>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("no answer within {} s", ANSWER_WAIT.as_secs()));
    tokio::time::timeout(ANSWER_WAIT, answer).await.map_err(late)?.map_err(|error| of_command(&error))
}

fn bot_id(text: &str) -> Result<BotId, Status> {
    validate::bot_id(text).map_err(|faults| invalid(&faults))
}

#[tonic::async_trait]
impl BotRunner for BotRunnerService {
    type ExecuteBotStream = BoxStream<'static, Result<pb::BotExecutionResult, Status>>;
    type StreamLogsStream = BoxStream<'static, Result<pb::LogLine, Status>>;
    type WatchEventsStream = BoxStream<'static, Result<pb::BotEvent, Status>>;

    async fn execute_bot(&self, request: Request<pb::ExecuteBotRequest>) -> Answer<Self::ExecuteBotStream> {
        let execution = validate::execute(request.into_inner()).map_err(|faults| invalid(&faults))?;
        let permit = self.permit()?;
        let results = execute::results(self.commands.clone(), Arc::clone(&self.clock), execution).await?;
        Ok(self.counted(permit, results))
    }

    async fn stop_bot(&self, request: Request<pb::StopBotRequest>) -> Answer<pb::StopBotResponse> {
        let (bot, wait) = validate::stop(request.get_ref()).map_err(|faults| invalid(&faults))?;
        // A client that is told to go away by the drain can ask again; the bot is disabled either way.
        let view = tokio::select! {
            view = self.commands.stop(&bot, wait) => view.map_err(|error| of_command(&error))?,
            () = self.draining.cancelled() => return Err(draining()),
        };
        Ok(Response::new(pb::StopBotResponse { status: Some(convert::status(&view, None)) }))
    }

    async fn get_bot_status(
        &self,
        request: Request<pb::GetBotStatusRequest>,
    ) -> Answer<pb::BotStatusResponse> {
        let bot = bot_id(&request.get_ref().bot_id)?;
        let view = within(self.commands.get(&bot)).await?;
        let pid = self.pids().await.get(bot.as_str()).copied();
        Ok(Response::new(convert::status(&view, pid)))
    }

    async fn deploy_bot(
        &self,
        request: Request<Streaming<pb::DeployBotRequest>>,
    ) -> Answer<pb::DeployBotResponse> {
        let deployed = tokio::select! {
            deployed = self.bundles.deploy(&self.commands, request.into_inner()) => deployed?,
            () = self.draining.cancelled() => return Err(draining()),
        };
        let bot = Some(self.shown(&deployed.view, Show::Masked).await);
        Ok(Response::new(pb::DeployBotResponse { bot, created: deployed.created, changed: deployed.changed }))
    }

    async fn list_bots(&self, request: Request<pb::ListBotsRequest>) -> Answer<pb::ListBotsResponse> {
        let page = validate::list(request.get_ref()).map_err(|faults| invalid(&faults))?;
        let size = page.size as usize;
        let (mut bots, mut after, mut more) = (Vec::new(), page.after, true);
        let pids = self.pids().await;
        // Pages are filled up: with a filter, a page of the store may hold few that are wanted.
        while more && bots.len() < size {
            let found = within(self.commands.list(after.as_ref(), page.size)).await?;
            more = found.len() == size;
            for view in found {
                if bots.len() == size {
                    more = true;
                    break;
                }
                after = Some(view.bot.id.clone());
                if page.phase.is_none_or(|phase| convert::phase(view.status.phase) == phase) {
                    let pid = pids.get(view.bot.id.as_str()).copied();
                    bots.push(convert::bot(&view, Show::Nothing, pid));
                }
            }
        }
        let next_page_token =
            if more { after.map_or_else(String::new, |id| id.to_string()) } else { String::new() };
        Ok(Response::new(pb::ListBotsResponse { bots, next_page_token }))
    }

    async fn get_bot(&self, request: Request<pb::GetBotRequest>) -> Answer<pb::Bot> {
        let request = request.into_inner();
        let bot = bot_id(&request.bot_id)?;
        let view = within(self.commands.get(&bot)).await?;
        let mut shown = self.shown(&view, if request.show_secrets { Show::All } else { Show::Masked }).await;
        if request.usage {
            let unit = the0_model::UnitId::bot(&bot);
            let stats = tokio::time::timeout(Duration::from_secs(5), self.executor.stats(&unit)).await;
            let usage = stats.ok().and_then(Result::ok).flatten().map(|stats| convert::usage(&stats));
            shown.status = shown.status.map(|status| pb::BotStatusResponse { usage, ..status });
        }
        Ok(Response::new(shown))
    }

    async fn set_bot_config(&self, request: Request<pb::SetBotConfigRequest>) -> Answer<pb::Bot> {
        let (bot, change, expected) =
            validate::set_config(request.get_ref()).map_err(|faults| invalid(&faults))?;
        let view = within(self.commands.set_config(&bot, &change, expected)).await?;
        Ok(Response::new(self.shown(&view, Show::Masked).await))
    }

    async fn set_bot_enabled(&self, request: Request<pb::SetBotEnabledRequest>) -> Answer<pb::Bot> {
        let bot = bot_id(&request.get_ref().bot_id)?;
        let view = within(self.commands.set_enabled(&bot, request.get_ref().enabled, None)).await?;
        Ok(Response::new(self.shown(&view, Show::Masked).await))
    }

    async fn restart_bot(&self, request: Request<pb::RestartBotRequest>) -> Answer<pb::Bot> {
        let bot = bot_id(&request.get_ref().bot_id)?;
        let view = within(self.commands.restart(&bot, None)).await?;
        Ok(Response::new(self.shown(&view, Show::Masked).await))
    }

    async fn delete_bot(&self, request: Request<pb::DeleteBotRequest>) -> Answer<pb::DeleteBotResponse> {
        let bot = bot_id(&request.get_ref().bot_id)?;
        let digest = within(self.commands.get(&bot)).await.ok().and_then(|view| view.bot.runtime.code_digest);
        tokio::select! {
            deleted = self.commands.delete(&bot, request.get_ref().keep_data) => deleted.map_err(|error| of_command(&error))?,
            () = self.draining.cancelled() => return Err(draining()),
        }
        if let Some(digest) = digest {
            self.bundles.forget(&bot, &digest).await;
        }
        Ok(Response::new(pb::DeleteBotResponse {}))
    }

    async fn stream_logs(&self, request: Request<pb::StreamLogsRequest>) -> Answer<Self::StreamLogsStream> {
        let (bot, query) = validate::logs(request.get_ref()).map_err(|faults| invalid(&faults))?;
        let permit = self.permit()?;
        // Opened as part of the stream: a bot without output yet is waited for, and the client may leave meanwhile.
        let (commands, executor) = (self.commands.clone(), Arc::clone(&self.executor));
        within(commands.get(&bot)).await?;
        let lines =
            stream::once(logs::lines(commands, executor, bot, query)).flat_map(|opened| match opened {
                Ok(lines) => lines.boxed(),
                Err(status) => stream::once(future::ready(Err(status))).boxed(),
            });
        Ok(self.counted(permit, lines))
    }

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let request = request.into_inner();
        let bot = if request.bot_id.is_empty() { None } else { Some(bot_id(&request.bot_id)?) };
        let permit = self.permit()?;
        let events = watch::events(self.commands.clone(), bot, request.history).await?;
        Ok(self.counted(permit, events))
    }

    async fn explain_bot(&self, request: Request<pb::ExplainBotRequest>) -> Answer<pb::ExplainBotResponse> {
        let bot = bot_id(&request.get_ref().bot_id)?;
        let why = within(self.commands.explain(&bot)).await?;
        let view = within(self.commands.get(&bot)).await?;
        let pid = self.pids().await.get(bot.as_str()).copied();
        let phase = why.status.phase;
        Ok(Response::new(pb::ExplainBotResponse {
            summary: why.summary,
            details: why.details,
            advice: why.advice,
            status: Some(convert::status_of(&bot, view.bot.is_enabled(), &why.status, pid)),
            events: why.status.events.iter().map(|event| convert::event(&bot, event, phase)).collect(),
        }))
    }

    async fn describe_service(
        &self,
        _request: Request<pb::DescribeServiceRequest>,
    ) -> Answer<pb::DescribeServiceResponse> {
        let (executor, pass, info) =
            (self.executor.describe(), self.pass.borrow().clone(), self.info.clone());
        let count = |units: usize| u32::try_from(units).unwrap_or(u32::MAX);
        Ok(Response::new(pb::DescribeServiceResponse {
            version: info.version,
            mode: info.mode,
            store: info.store,
            objects: info.objects,
            executor: executor.kind.to_owned(),
            executor_version: executor.version,
            protections: executor.protections.iter().map(convert::protection).collect(),
            generation: info.generation.to_string(),
            started_at: Some(convert::time(info.started_at)),
            last_pass: pass.plan.to_string(),
            passes: pass.number,
            units_running: count(pass.running),
            units_wanted: count(pass.wanted),
            degraded: pass.error.or(pass.held).unwrap_or_default(),
        }))
    }
}
