//! Whose request is it? The client's address, from hops that an operator trusts and from nobody else.
//!
//! A header is text, and a client can write any. What a trusted proxy adds is the address of its own peer, behind
//! whatever came before. So the hops are walked from the connection towards the client, from the right: as long as a hop is
//! trusted, what it says about its peer is believed; the first that is not trusted is the client, and nothing to the
//! left of it is looked at. Where a trusted hop says something that is no address, that hop is as far as anybody knows.
//!
//! One header counts, the one that the proxies write (`forwarded_header`). There is no guessing between the two: a proxy
//! that writes one passes on the other as its client sent it. Other spellings (`X_Forwarded_For`) are other headers,
//! and `Connection` is no reason to look away: what was to be dropped on the way is the hops' business.

use super::listener::PeerAddr;
use handstamp_core::address::Networks;
use http::{HeaderMap, HeaderName, Request, header};
use std::net::IpAddr;

mod elements;

/// The header in which trusted proxies say who their peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SaidIn {
    /// `X-Forwarded-For`: a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list of parameters, of which `for` counts.
    Forwarded,
}

/// Whose word about the client's address is believed, and where it stands. By default nobody's.
#[derive(Clone, Default)]
pub struct Trust {
    /// Addresses of proxies.
    pub proxies: Networks,
    /// The header they write.
    pub said_in: SaidIn,
}

/// Whose address the connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// The client's, or a proxy's; only one that is trusted may say more.
    Itself,
    /// That of somebody who has shown a key and speaks for a client.
    Speaks,
}

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Trust {
    /// The client's address in its one form, `connection` being who is at the other end of it.
    pub fn client(&self, connection: IpAddr, headers: &HeaderMap) -> IpAddr {
        let hop = connection.to_canonical();
        if self.proxies.contains(hop) { self.said(headers).unwrap_or(hop) } else { hop }
    }

    /// The address of a client whose own request this is. Whoever may speak for a client and does not say where it is,
    /// leaves that open: its own address is not the client's.
    pub fn visitor(&self, connection: Option<IpAddr>, headers: &HeaderMap, hop: Hop) -> Option<IpAddr> {
        let connection = connection?.to_canonical();
        match hop {
            Hop::Itself if !self.proxies.contains(connection) => Some(connection),
            Hop::Itself | Hop::Speaks => self.said(headers),
        }
    }

    /// Whether the word of whoever is at the other end of a connection counts.
    pub fn believes(&self, connection: Option<IpAddr>) -> bool {
        connection.is_some_and(|hop| self.proxies.contains(hop.to_canonical()))
    }

    /// The host that a request was sent to: what a trusted proxy says it was, else what the request itself says.
    pub fn host<'a>(&self, connection: Option<IpAddr>, headers: &'a HeaderMap) -> Option<&'a str> {
        let said = self.believes(connection) && headers.contains_key(X_FORWARDED_HOST);
        let mut lines = headers.get_all(if said { X_FORWARDED_HOST } else { header::HOST }).iter();
        let line = lines.next()?.to_str().ok()?;
        // Several hops make a list, and the last one spoke to us. Of two lines one may be the client's own.
        lines.next().is_none().then(|| line.rsplit(',').next().unwrap_or(line).trim())
    }

    /// What the hops behind a believed one say, as far as they are believed, too; `None` where it says no address.
    fn said(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let (name, last) = match self.said_in {
            SaidIn::XForwardedFor => (X_FORWARDED_FOR, elements::last_address as elements::Last),
            SaidIn::Forwarded => (header::FORWARDED, elements::last_for as elements::Last),
        };
        let mut hop = None;
        // Several lines of one name are one list (RFC 9110, 5.3): the last one was added last.
        for line in headers.get_all(name).iter().rev() {
            let mut left = Some(line.as_bytes());
            while let Some(text) = left {
                let (said, rest) = last(text);
                let Some(address) = said.map(|address| address.to_canonical()) else { return hop };
                hop = Some(address);
                if !self.proxies.contains(address) {
                    return hop;
                }
                left = rest;
            }
        }
        hop
    }

    /// The same of a request that came through the listener; `None` of one that did not.
    pub fn client_of<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let PeerAddr(peer) = request.extensions().get::<PeerAddr>()?;
        Some(self.client(peer.ip(), request.headers()))
    }
}
