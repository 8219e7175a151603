//! The stand-in that the engine's tests use keeps the contract as far as one without processes can.
#![allow(clippy::unwrap_used, reason = "a suite of tests")]

use std::sync::Arc;

use futures::FutureExt;
use the0_core::{SystemClock, fakes::FakeExecutor};
use the0_executor::{UnitsDir, contract::Subject};

#[expect(clippy::unused_async, reason = "the cases await their subject")]
async fn subject() -> Option<Subject> {
    let home = tempfile::tempdir().unwrap();
    let executor = Arc::new(FakeExecutor::new(Arc::new(SystemClock)));
    let again = executor.clone();
    Some(Subject {
        executor,
        units: UnitsDir::new(home.path().join("units")),
        code: home.path().join("code"),
        reopen: Box::new(move || {
            let again = again.clone();
            async move { again as _ }.boxed()
        }),
        leftovers: Box::new(|_| async { vec![] }.boxed()),
        keep: Box::new(home),
    })
}

the0_executor::executor_contract!(subject, only life::{
    equal_starts_are_one, starts_at_once_are_one, an_absent_unit_is_stopped_already, services_see_their_own,
});
