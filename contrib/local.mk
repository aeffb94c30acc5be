EXTRA_DIST += contrib/check contrib/lib.sh contrib/packages contrib/quickstart contrib/testnet
integration_tests += tests/integration/testnet.sh
EXTRA_DIST += contrib/magicbizd.service
