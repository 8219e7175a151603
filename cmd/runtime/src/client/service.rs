//! `runtime status`.

use serde_json::json;
use the0_proto::bot::v1::{DescribeServiceRequest, Protection};

use super::{Client, answer, json};
use crate::{
    exit::{Exit, Failure},
    output::{
        self, Paint,
        table::{self, Field},
        times,
    },
};

pub(super) async fn run(mut client: Client) -> Result<Exit, Failure> {
    let service = answer(client.rpc.describe_service(DescribeServiceRequest {}).await)?;
    if client.json {
        let protections: Vec<_> = service
            .protections
            .iter()
            .map(|one| json!({"name": one.name, "active": one.active, "detail": one.detail}))
            .collect();
        output::json(&json!({
            "version": service.version, "mode": service.mode, "store": service.store, "objects": service.objects,
            "executor": service.executor, "executor_version": service.executor_version, "protections": protections,
            "generation": service.generation, "started_at": json::time(service.started_at.as_ref()),
            "last_pass": service.last_pass, "passes": service.passes, "units_running": service.units_running,
            "units_wanted": service.units_wanted, "degraded": service.degraded,
        }))?;
        return Ok(Exit::Ok);
    }
    let units = format!("{} running, {} wanted", service.units_running, service.units_wanted);
    output::line(table::pairs(
        client.style,
        vec![
            ("version", service.version.into()),
            ("mode", service.mode.into()),
            ("store", service.store.into()),
            ("objects", service.objects.into()),
            ("executor", format!("{} {}", service.executor, service.executor_version).into()),
            ("generation", service.generation.into()),
            ("started", times::text(service.started_at.as_ref()).into()),
            ("units", units.into()),
            ("passes", service.passes.to_string().into()),
            ("last pass", service.last_pass.into()),
            ("degraded", Field::painted(Paint::Bad, service.degraded)),
        ],
    ))?;
    output::line("")?;
    let row = |one: Protection| {
        let active = if one.active { (Paint::Good, "active") } else { (Paint::Bad, "inactive") };
        vec![one.name.into(), Field::painted(active.0, active.1), one.detail.into()]
    };
    let rows = service.protections.into_iter().map(row).collect();
    output::line(table::with_header(client.style, &["protection", "state", "how, or why not"], rows))?;
    Ok(Exit::Ok)
}
