//! Terms: numbers that only grow, over all starts of the service.

use super::{Abort, Database, DatabaseError};

/// The next term: greater than every one given before, by this process or an earlier one.
///
/// In single-process mode it is the generation's term, so that what an earlier process wrote is recognised as older.
pub async fn next_term(database: &Database) -> Result<u64, DatabaseError> {
    database
        .write(|transaction| {
            let term: i64 = transaction.query_row(
                "INSERT INTO counters (realm, id, seq) VALUES ('service', 'term', 1)
                 ON CONFLICT (realm, id) DO UPDATE SET seq = seq + 1 RETURNING seq",
                [],
                |row| row.get(0),
            )?;
            Ok::<_, Abort<DatabaseError>>(term.unsigned_abs())
        })
        .await
}
