//! The whole program against real servers, counted at the receiver.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod changes;
mod collector;
mod delivery;
mod destinations;
mod dial;
mod exec;
mod exits;
mod faults;
mod follow;
mod guard;
mod http;
mod http2;
mod idle;
mod influx_bad_days;
mod influx_destination;
mod influx_library;
mod influx_provision;
mod influxdb;
mod journey;
mod library;
mod loadtest;
mod loadtest_binary;
mod loadtest_library;
mod minute;
mod pages;
mod parts;
mod places;
mod reasons;
mod requests;
mod slots;
mod stop;
mod tcp;
mod threads;
mod truth;
mod under_cron;
