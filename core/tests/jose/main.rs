//! Our tokens as the rest of the world knows them: the published vectors and examples of the algorithms, another library that
//! signs and verifies, and every known way of passing off something else as a token.

#[cfg(test)]
mod support;

#[cfg(test)]
mod confusion;
#[cfg(test)]
mod confusion_of_keys;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod wycheproof;
