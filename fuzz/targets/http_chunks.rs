//! Walking over a chunked body at the network edge: the same in whatever pieces it comes, and it ends where it ends for
//! hyper. The first byte is the length of the first piece, the second of all that follow.
#![no_main]

mod edge;

use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let [first, others, body @ ..] = data else { return };
    let walked = edge::walk(body, &[]);
    assert_eq!(edge::walk(body, &[1]), walked);
    assert_eq!(edge::walk(body, &[usize::from(*first), usize::from(*others)]), walked);
    let Ok((here, ended)) = walked else { return };
    let whole = ended.then(|| edge::decoded(&body[..here]));
    edge::agrees([HEAD, &body[..here]].concat(), b"/a", false, whole.as_deref());
});
