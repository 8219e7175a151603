//! The handle: closures go in, answers come out, one thread does the work.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{DatabaseError, Options, open::open};

/// Calls that may wait for the thread. Each costs microseconds to a few milliseconds, so a full queue means a stuck disk;
/// callers then wait in their own time limit.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    Work(Job),
    Close(oneshot::Sender<()>),
}

/// A database file. Cheap to clone; clones share the file, its thread and its queue.
#[derive(Clone)]
pub struct Database {
    path: Arc<Path>,
    options: Options,
    queue: mpsc::Sender<Message>,
}

/// Why a piece of work ended without a result; its transaction is rolled back.
#[derive(Debug)]
pub enum Abort<E> {
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// The work refused, for a reason of its own.
    Refused(E),
}

impl<E> From<rusqlite::Error> for Abort<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Database {
    /// Opens the file, creates it if absent (readable by its owner alone) and brings it to the newest version.
    pub async fn open(path: impl Into<PathBuf>, options: Options) -> Result<Self, DatabaseError> {
        let path: Arc<Path> = path.into().into();
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (opened, ready) = oneshot::channel();
        let file = Arc::clone(&path);
        // A thread and not a task: SQLite blocks, and the connection stays with one thread for its life.
        let thread =
            std::thread::Builder::new().name("sqlite".into()).spawn(move || match open(&file, options) {
                Ok(connection) => {
                    let _ = opened.send(Ok(()));
                    work(connection, jobs);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            });
        if let Err(error) = thread {
            return Err(DatabaseError::NotWritable { path: path.to_path_buf(), reason: error.to_string() });
        }
        let database = Self { path, options, queue };
        database.answer(ready).await??;
        Ok(database)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads, all of it as of one moment.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, Abort<E>> + Send + 'static,
    {
        self.transact(TransactionBehavior::Deferred, work).await
    }

    /// Writes: all of `work` or, if it fails, none of it.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, Abort<E>> + Send + 'static,
    {
        // Immediate: a transaction that reads first and writes later could not wait for another writer.
        self.transact(TransactionBehavior::Immediate, work).await
    }

    /// Closes the file once all work before it is done. Later calls fail with [`DatabaseError::Closed`].
    pub async fn close(&self) -> Result<(), DatabaseError> {
        let (done, closed) = oneshot::channel();
        self.send(Message::Close(done)).await?;
        self.answer(closed).await
    }

    async fn transact<T, E, F>(&self, behavior: TransactionBehavior, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, Abort<E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waits any more: doing it now would surprise whoever was told that there was no answer.
            if !reply.is_closed() {
                let _ = reply.send(in_transaction(connection, behavior, work));
            }
        });
        self.send(Message::Work(job)).await?;
        match self.answer(answer).await? {
            Ok(value) => Ok(value),
            Err(Abort::Refused(error)) => Err(error),
            Err(Abort::Sql(error)) => Err(DatabaseError::of(&self.path, error).into()),
        }
    }

    async fn send(&self, message: Message) -> Result<(), DatabaseError> {
        match tokio::time::timeout(self.options.call_timeout, self.queue.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(self.timeout()),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, DatabaseError> {
        match tokio::time::timeout(self.options.call_timeout, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(self.timeout()),
        }
    }

    fn closed(&self) -> DatabaseError {
        DatabaseError::Closed { path: self.path.to_path_buf() }
    }

    fn timeout(&self) -> DatabaseError {
        DatabaseError::Timeout {
            path: self.path.to_path_buf(),
            after_ms: self.options.call_timeout.as_millis(),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The thread: ends when the last handle is gone or on `Close`. Dropping the connection folds the WAL into the file.
fn work(mut connection: Connection, mut jobs: mpsc::Receiver<Message>) {
    while let Some(message) = jobs.blocking_recv() {
        match message {
            Message::Work(job) => job(&mut connection),
            Message::Close(done) => {
                drop(connection);
                let _ = done.send(());
                return;
            }
        }
    }
}

fn in_transaction<T, E>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Abort<E>>,
) -> Result<T, Abort<E>> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}
