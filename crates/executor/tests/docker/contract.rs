//! The contract every executor passes, with the real agent in the containers.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use futures::FutureExt;
use the0_core::Executor;
use the0_executor::contract::Subject;

use crate::rig::Rig;

the0_executor::executor_contract!(subject);

/// `None`, and a word about it, where there is no Docker.
async fn subject() -> Option<Subject> {
    let rig = Arc::new(Rig::new().await?);
    let tools = rig.path().join("tools");
    fs::copy(agent(), tools.join("runtime")).unwrap();
    fs::set_permissions(tools.join("runtime"), fs::Permissions::from_mode(0o755)).unwrap();
    for wrapper in the0_agent::wrappers::ALL {
        fs::write(tools.join(wrapper.file), wrapper.text).unwrap();
    }
    let (again, left) = (rig.clone(), rig.clone());
    Some(Subject {
        executor: Arc::new(rig.executor().await),
        units: rig.units(),
        code: rig.path().join("code"),
        reopen: Box::new(move || {
            let rig = again.clone();
            async move { Arc::new(rig.executor().await) as Arc<dyn Executor> }.boxed()
        }),
        leftovers: Box::new(move |unit| {
            let rig = left.clone();
            async move {
                let name = format!("/{}", rig.name(&unit));
                let names =
                    rig.containers().await.into_iter().flat_map(|found| found.names.unwrap_or_default());
                names.filter(|found| *found == name).collect()
            }
            .boxed()
        }),
        keep: Box::new(rig),
    })
}

/// The agent that cargo builds beside the tests.
fn agent() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let agent = here.ancestors().nth(2).unwrap().join("examples/unit_agent");
    assert!(agent.exists(), "{} is missing: cargo build -p the0-executor --examples", agent.display());
    agent
}
