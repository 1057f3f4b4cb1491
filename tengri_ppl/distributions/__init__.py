"""NumPyro distributions as functions of standard normals."""
