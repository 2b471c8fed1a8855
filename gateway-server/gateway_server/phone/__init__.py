"""The phone page: what `/app` serves, all of it files of this folder and none from elsewhere."""
