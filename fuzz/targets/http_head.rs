//! Reading the header of a request at the network edge: the same in whatever pieces it comes; and what passes is one
//! request for hyper, too, with the same body.
#![no_main]

mod edge;

use handstamp_server::http::listener::Limits;
use handstamp_server::http::listener::head::{Framing, Look, examine};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Small, so that short inputs pass them.
static LIMITS: LazyLock<Limits> =
    LazyLock::new(|| Limits { header_bytes: 128, headers: 6, target_bytes: 24, ..Limits::default() });

fuzz_target!(|data: &[u8]| {
    for limits in [&Limits::default(), &*LIMITS] {
        let whole = examine(data, limits);
        // The first piece that says something says the same as all of it. (Of two refusals the later one may differ.)
        for n in 0..data.len() {
            match (examine(&data[..n], limits), &whole) {
                (Look::Partial, _) | (Look::Refused(_), Look::Refused(_)) => {}
                (early, late) => assert_eq!(&early, late, "after {n} bytes"),
            }
        }
        let Look::Whole { len, target, framing } = whole else { continue };
        assert!(data[..len].ends_with(b"\r\n\r\n") && target.len() <= limits.target_bytes);
        assert!(len <= limits.header_bytes + 2 + data.iter().take_while(|b| b"\r\n".contains(b)).count());
        let rest = &data[len..];
        match framing {
            Framing::Length(length) => {
                let here = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
                let body = (here as u64 == length).then_some(&rest[..here]);
                edge::agrees(data[..len + here].to_vec(), target, true, body);
            }
            Framing::Chunked => {
                let Ok((here, ended)) = edge::walk(rest, &[]) else { continue };
                let body = ended.then(|| edge::decoded(&rest[..here]));
                edge::agrees(data[..len + here].to_vec(), target, false, body.as_deref());
            }
        }
    }
});
