//! The rules seen from outside, in one binary: tables of every refusal with both sides of each boundary, and
//! histories against a model.

#[cfg(test)]
mod support;

#[cfg(test)]
mod address;
#[cfg(test)]
mod device;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod epoch;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod fixed_tags;
mod formats;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod honest;
#[cfg(test)]
mod hot_path;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod licence;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod mint;
#[cfg(test)]
mod model;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod small_worlds;
#[cfg(test)]
mod store_time;
#[cfg(test)]
mod transitions;
