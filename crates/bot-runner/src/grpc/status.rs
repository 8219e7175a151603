//! Pure: from refusals to gRPC statuses. The only place that knows their codes.

use the0_core::ExecutorError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{CommandError, FieldFault};

/// `INVALID_ARGUMENT` with every fault as a detail.
pub(super) fn invalid(faults: &[FieldFault]) -> Status {
    let violations: Vec<_> =
        faults.iter().map(|fault| FieldViolation::new(&fault.field, &fault.problem)).collect();
    let text = match faults {
        [one] => format!("the request has a fault in {}", one.field),
        many => format!("the request has {} faults", many.len()),
    };
    Status::with_error_details(Code::InvalidArgument, text, ErrorDetails::with_bad_request(violations))
}

/// The status of a refused verb.
pub(super) fn of_command(error: &CommandError) -> Status {
    let text = error.to_string();
    match error {
        CommandError::Invalid { faults } => invalid(faults),
        CommandError::NotFound { .. } => Status::not_found(text),
        CommandError::AlreadyExists { .. } => Status::already_exists(text),
        CommandError::Conflict { .. } => Status::aborted(text),
        CommandError::StillStopping { .. } => Status::deadline_exceeded(text),
        CommandError::Store(error) if error.is_permanent() => Status::internal(text),
        CommandError::Store(_) => Status::unavailable(text),
        CommandError::Executor(error) => of_executor(error),
    }
}

/// The status of a refusal by the executor.
pub(super) fn of_executor(error: &ExecutorError) -> Status {
    let text = error.to_string();
    match error {
        ExecutorError::Unreachable { .. } => Status::unavailable(text),
        ExecutorError::Refused { .. } => Status::failed_precondition(text),
        ExecutorError::Failed { .. } => Status::internal(text),
        ExecutorError::NotFound { .. } => Status::not_found(text),
    }
}

/// The end of every stream when the service ends.
pub(super) fn draining() -> Status {
    Status::unavailable("the service is shutting down")
}
