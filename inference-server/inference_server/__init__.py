"""The inference tier: holds biometric references only and answers who a photo resembles most."""
