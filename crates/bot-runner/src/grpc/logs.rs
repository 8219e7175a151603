//! `StreamLogs`: a bot's output, over restarts.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream::BoxStream};
use the0_core::{
    Executor, ExecutorError,
    executor::{AttemptRef, LogQuery, LogRecord},
};
use the0_model::{BotId, UnitId};
use the0_proto::bot::v1 as pb;
use tonic::Status;

use super::{
    convert,
    status::{of_command, of_executor},
    watch,
};
use crate::{BotCommands, CommandError};

/// How often a bot that was never started is looked at again, besides its notices.
const FIRST_OUTPUT_LOOK: Duration = Duration::from_millis(200);

type Records = BoxStream<'static, Result<LogRecord, ExecutorError>>;

/// The lines asked for; with `follow`, those to come too, until the bot is deleted.
pub(super) async fn lines(
    commands: BotCommands,
    executor: Arc<dyn Executor>,
    bot: BotId,
    query: LogQuery,
) -> Result<impl Stream<Item = Result<pb::LogLine, Status>> + Send + 'static, Status> {
    commands.get(&bot).await.map_err(|error| of_command(&error))?;
    let follow = query.follow;
    let records = open(&commands, executor.as_ref(), &bot, query).await?;
    let lines = records.map(|record| record.map(line).map_err(|error| of_executor(&error)));
    let gone = async move {
        if follow {
            watch::deleted(commands, bot).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    Ok(lines.take_until(gone).boxed())
}

/// Opens the output. A bot that was just deployed has none yet: without `follow` that is no output, with it, it is waited
/// for.
async fn open(
    commands: &BotCommands,
    executor: &dyn Executor,
    bot: &BotId,
    query: LogQuery,
) -> Result<Records, Status> {
    let unit = UnitId::bot(bot);
    let mut notices = commands.watch();
    loop {
        match executor.logs(&unit, query.clone()).await {
            Ok(records) => return Ok(records),
            Err(ExecutorError::NotFound { .. }) if query.attempt == AttemptRef::Latest => {}
            Err(error) => return Err(of_executor(&error)),
        }
        if !query.follow {
            return Ok(futures::stream::empty().boxed());
        }
        // A ring in most cases; the look after a while covers folders that appear without one.
        let _ = tokio::time::timeout(FIRST_OUTPUT_LOOK, notices.recv()).await;
        if let Err(error @ CommandError::NotFound { .. }) = commands.get(bot).await {
            return Err(of_command(&error));
        }
    }
}

fn line(record: LogRecord) -> pb::LogLine {
    pb::LogLine {
        at: Some(convert::time(record.line.at)),
        stream: convert::stream(record.line.stream).into(),
        attempt: record.attempt,
        text: record.line.text,
        partial: record.line.partial,
    }
}
