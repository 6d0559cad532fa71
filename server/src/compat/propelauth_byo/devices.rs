//! Devices: challenges for them, a session gets one; what a proof must come with, and what is told when it proves nothing.
//!
//! A challenge is asked for in one way, without a session and without a user: it is good for whoever comes with the same
//! address and agent. The one that comes with a refusal is the session's own.

use super::answers::{Challenge, RegisteredDevice};
use super::commands::{CreateDeviceChallenge, DeviceRegistration, DeviceVerification, RegisterDevice};
use super::failure::{Failure, seconds};
use super::{plain, read};
use crate::app::callers::Caller;
use crate::app::devices::prove::{Device, Introduction, Sent};
use crate::app::devices::{Ahead, Named, Register};
use crate::app::{App, Refused};
use handstamp_core::caller::Scope;
use handstamp_core::device::challenge::Given;
use handstamp_core::device::target;
use handstamp_core::refusal::Code;

/// A challenge for whoever comes from there.
pub(super) fn challenge(app: &App, by: &Caller, ask: &CreateDeviceChallenge) -> Result<Challenge, Failure> {
    by.allow(Scope::SessionsRead).map_err(plain)?;
    let client = read::client(ask.ip_address.as_deref(), ask.user_agent.as_deref())?;
    let given = app.challenge(by, &Ahead::Login(None, client)).map_err(plain)?;
    Ok(Challenge { device_challenge: given.text.into(), expires_at: seconds(given.until) })
}

/// A session gets its device.
pub(super) async fn register(
    app: &App,
    by: &Caller,
    ask: RegisterDevice,
) -> Result<RegisteredDevice, Failure> {
    by.allow(Scope::SessionsWrite).map_err(plain)?;
    let sent = sent("/data", ask.signed_device_challenge, ask.request_method, ask.request_url)?;
    let client = read::client(ask.ip_address.as_deref(), ask.user_agent.as_deref())?;
    let id = ask.session_id.map(|text| read::session(&text)).transpose()?;
    let (session, guard) = match (ask.session_token, id) {
        (Some(token), guard) => (Named::Token(token), guard),
        (None, Some(id)) => (Named::Id(id), None),
        (None, None) => return Err(Failure::no_session()),
    };
    let device = Introduction { sent, remember: ask.remember_device };
    let ask = Register { session, guard, device, client };
    let done = Box::pin(app.register_device(by, &ask)).await;
    let (_, new) = done.map_err(|stop| Failure::of(stop, not_registered))?;
    Ok(RegisteredDevice { new_device_detected: new })
}

fn not_registered(refused: &Refused) -> Option<Failure> {
    let code = refused.refusal.code;
    match (code, &refused.challenge) {
        (Code::DeviceProofStale, Some(fresh)) => Some(Failure::challenge(fresh)),
        (code, _) if is_about_proof(code) => Some(no_registration()),
        (Code::AlreadyExists, _) => Some(Failure::unit("DeviceAlreadyRegistered", code.status())),
        // A token that will not do names no session; one that may only not be used from there does.
        (Code::NotFound | Code::SessionEnded, _) => Some(Failure::no_session()),
        (code, _) if code.denies_session() => Some(Failure::no_session()),
        (_, _) => None,
    }
}

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
