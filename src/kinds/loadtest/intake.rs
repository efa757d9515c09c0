//! What a load test writes on its standard output, and what is made of it.
