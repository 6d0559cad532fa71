//! Which condition leads a search, for every store with an index of facets: the one with the fewest entries, as far as it
//! pays to count.

use super::FacetRange;
use super::Query;

/// Entries up to which conditions are told apart; the second look is for when all of them have more.
pub(super) const PROBES: [u32; 2] = [1_000, 16_000];
/// Entries of a range up to which it is gathered and sorted by id.
const GATHER: u32 = 4_000;

/// Where the candidates come from; numbers are places in the query's conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lead {
    /// Every record of the space, by id.
    Space,
    /// One or several exact values, by id.
    Exact(usize),
    /// A range with few entries, by id.
    Gather(usize),
    /// A range with many entries, by value.
    Value(u16),
}

/// The ranges of each condition, sorted, without empty ones, and joined where they overlap, so that no entry is met
/// twice. `None` when a condition can hold for nothing.
pub(super) fn normalize(query: &Query) -> Option<Vec<Vec<FacetRange>>> {
    let normal = |any: &[FacetRange]| {
        let mut ranges: Vec<FacetRange> =
            any.iter().filter(|range| range.low <= range.high).cloned().collect();
        ranges.sort_by(|a, b| (a.name, &a.low, &a.high).cmp(&(b.name, &b.low, &b.high)));
        let mut joined: Vec<FacetRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if last.name == range.name && range.low <= last.high => {
                    if range.high > last.high {
                        last.high = range.high;
                    }
                }
                _ => joined.push(range),
            }
        }
        (!joined.is_empty()).then_some(joined)
    };
    query.all.iter().map(|condition| normal(&condition.any)).collect()
}

/// Whether a condition names exact values only.
pub(super) fn exact(ranges: &[FacetRange]) -> bool {
    ranges.iter().all(|range| range.low == range.high)
}

/// The lead where nothing has to be counted.
pub(super) fn plain(conditions: &[Vec<FacetRange>]) -> Option<Lead> {
    match conditions {
        [] => Some(Lead::Space),
        [only] if exact(only) => Some(Lead::Exact(0)),
        _ => None,
    }
}

/// Whether the ids inside of the query's bounds are worth counting.
pub(super) fn bounded(query: &Query) -> bool {
    query.from.is_some() || query.until.is_some()
}

/// Chooses by what was counted up to `probe`: entries of each condition, and ids inside of the bounds (where there are
/// any). `None`: all have more, and it pays to count on. A search that went on by id stays in that order, for its cursor
/// knows no more than an id.
pub(super) fn choose(
    query: &Query,
    conditions: &[Vec<FacetRange>],
    entries: &[u32],
    inside: Option<u32>,
    probe: u32,
) -> Option<Lead> {
    let by_id_only = query.cursor.is_some();
    let mut best: Option<(u32, Lead)> = None;
    for (number, (ranges, entries)) in conditions.iter().zip(entries).enumerate() {
        let entries = (*entries).min(probe);
        let lead = if exact(ranges) {
            Lead::Exact(number)
        } else {
            match u16::try_from(number) {
                _ if entries <= GATHER && entries < probe => Lead::Gather(number),
                Ok(number) if !by_id_only => Lead::Value(number),
                _ => continue,
            }
        };
        let better = best.is_none_or(|(least, lead_so_far)| {
            // Among equals one in the order of ids: it can be followed without surprises.
            entries < least || (entries == least && matches!(lead_so_far, Lead::Value(_)))
        });
        if better {
            best = Some((entries, lead));
        }
    }
    if let Some(inside) = inside.map(|inside| inside.min(probe))
        && best.is_none_or(|(least, _)| inside < least)
    {
        best = Some((inside, Lead::Space));
    }
    match best {
        Some((entries, lead)) if entries < probe => Some(lead),
        Some((_, lead)) if Some(&probe) == PROBES.last() => Some(lead),
        None if Some(&probe) == PROBES.last() => Some(Lead::Space),
        _ => None,
    }
}
