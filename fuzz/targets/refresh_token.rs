//! Reading refresh tokens.
#![no_main]

mod shape;

use handstamp_core::token::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shape::opaque(Kind::Refresh, data));
