//! Devices: what a proof must come with, and what is told when it proves nothing.

use super::commands::{DeviceRegistration, DeviceVerification};
use super::failure::Failure;
use crate::app::devices::prove::{Device, Introduction, Sent};
use handstamp_core::device::challenge::Given;
use handstamp_core::device::target;
use handstamp_core::refusal::Code;

/// A device that logs in.
///
/// # Errors
/// A method or URL that is none.
pub fn introduction(ask: DeviceRegistration) -> Result<Introduction, Failure> {
    let remember = ask.remember_device.unwrap_or(false);
    let at = "/data/deviceRegistration";
    let sent = sent(at, ask.signed_device_challenge, ask.request_method, ask.request_url)?;
    Ok(Introduction { sent, remember })
}

/// What came of the session's device with a request.
///
/// # Errors
/// A method or URL that is none.
pub fn shown(proof: Option<DeviceVerification>, ignored: bool) -> Result<Device, Failure> {
    match proof {
        _ if ignored => Ok(Device::Ignored),
        None => Ok(Device::Unsent),
        Some(proof) => {
            let at = "/data/deviceVerification";
            let sent = sent(at, proof.signed_device_challenge, proof.request_method, proof.request_url)?;
            Ok(Device::Sent(Box::new(sent)))
        }
    }
}

fn sent(at: &str, proof: String, method: Option<String>, url: Option<String>) -> Result<Sent, Failure> {
    let method = method.map(|text| {
        let known = target::method(&text).map(str::to_owned);
        known.ok_or_else(|| Failure::invalid(&format!("{at}/requestMethod"), "a method, such as GET"))
    });
    let url = url.map(|text| {
        let read = target::url(&text);
        let message = "the whole URL as the client sent it, such as https://app.example/orders";
        read.ok_or_else(|| Failure::invalid(&format!("{at}/requestUrl"), message))
    });
    Ok(Sent { proof, method: method.transpose()?, url: url.transpose()? })
}

/// Whether a refusal is about the proof of a device.
pub fn is_about_proof(code: Code) -> bool {
    matches!(code, Code::DeviceProofMissing | Code::DeviceProofStale | Code::DeviceProofInvalid)
}

/// A session whose device could not be registered.
pub fn no_registration() -> Failure {
    Failure::unit("InvalidDeviceRegistration", Code::DeviceProofInvalid.status())
}

/// A request whose device did not prove that it is the session's.
pub fn not_verified(code: Code, fresh: Option<&Given>) -> Failure {
    match (code, fresh) {
        (Code::DeviceProofStale, Some(fresh)) => Failure::challenge(fresh),
        (Code::DeviceProofMissing, _) => Failure::unit("DeviceVerificationRequired", code.status()),
        (_, _) => Failure::unit("DeviceVerificationFailed", code.status()),
    }
}
