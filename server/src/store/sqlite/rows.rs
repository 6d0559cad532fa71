//! How a record is read from its columns.

use super::super::rows::decode_facets;
use super::super::{Key, Millis, Record, StoreError, Versioned};
use rusqlite::Row;

/// The columns every whole record is read with, in the order [`versioned`] wants.
macro_rules! record_columns {
    () => {
        "version, bucket, seen, forget_at, facets, body"
    };
}
pub(super) use record_columns;

/// A record from [`record_columns`].
pub(super) fn versioned(key: &Key, row: &Row<'_>) -> rusqlite::Result<Result<Versioned, StoreError>> {
    let damaged = || StoreError::Damaged(format!("a record of kind {} cannot be read", key.space.kind));
    let (Ok(version), Ok(bucket)) =
        (u64::try_from(row.get::<_, i64>(0)?), u16::try_from(row.get::<_, i64>(1)?))
    else {
        return Ok(Err(damaged()));
    };
    let Some(facets) = decode_facets(row.get_ref(4)?.as_blob()?) else { return Ok(Err(damaged())) };
    let record = Record {
        key: key.clone(),
        bucket,
        facets,
        seen: row.get::<_, Option<i64>>(2)?.map(Millis),
        forget_at: row.get::<_, Option<i64>>(3)?.map(Millis),
        body: row.get_ref(5)?.as_blob()?.to_vec(),
    };
    Ok(Ok(Versioned { record, version }))
}
