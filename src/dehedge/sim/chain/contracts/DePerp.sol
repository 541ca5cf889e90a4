// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

// Stand-ins for the part of DePerp that a hedger reads. The read functions carry the exact signatures of the deployment;
// every function that changes something is open to anyone, because these contracts only ever live on a local chain.
// There are no constructors: the runtime code is written to fixed addresses, so that a deployment costs no transaction.

contract DataRegistry {
    mapping(bytes32 keyHash => address) private _entries;

    function setAddress(string calldata key, address entry) external {
        _entries[keccak256(bytes(key))] = entry;
    }

    /// An unknown key answers zero, it does not revert.
    function getAddress(string calldata key) external view returns (address) {
        return _entries[keccak256(bytes(key))];
    }
}

contract Positions {
    struct Position {
        address user;
        address asset;
        string market;
        bool isLong;
        uint256 size;
        uint256 collateral;
        int256 fundingTracer;
        uint256 price;
        uint256 timestamp;
    }

    /// Deployments page differently, and a reader has to get along with each of them.
    enum Paging { Index, Cap, Padded }

    event PositionChanged(address indexed user, address indexed asset, string market, bool isOpen);

    Paging public paging;
    mapping(bytes32 key => Position) private _positions;
    mapping(bytes32 key => uint256) private _places; // 1-based, so that 0 means absent
    bytes32[] private _keys;

    function setPaging(Paging variant) external {
        paging = variant;
    }

    function fill(Position[] calldata positions) external {
        for (uint256 i; i < positions.length; ++i) _put(positions[i]);
    }

    /// The last position moves into the gap, so the order changes.
    function remove(address user, address asset, string calldata market) external {
        bytes32 key = _keyOf(user, asset, market);
        uint256 place = _places[key];
        require(place != 0, "!position");
        bytes32 last = _keys[_keys.length - 1];
        _keys[place - 1] = last;
        _places[last] = place;
        _keys.pop();
        delete _places[key];
        delete _positions[key];
        emit PositionChanged(user, asset, market, false);
    }

    function getPositionCount() external view returns (uint256) {
        return _keys.length;
    }

    function getPositions(uint256 length, uint256 offset) external view returns (Position[] memory) {
        if (paging == Paging.Cap) return _absolutePage(length, offset);
        if (paging == Paging.Padded) return _paddedPage(length, offset);
        return _clampedPage(length, offset);
    }

    /// The offset is an index and the length is cut to what is left; an offset past the end underflows.
    function _clampedPage(uint256 length, uint256 offset) private view returns (Position[] memory page) {
        uint256 rest = _keys.length - offset;
        page = new Position[](length < rest ? length : rest);
        for (uint256 i; i < page.length; ++i) page[i] = _positions[_keys[offset + i]];
    }

    /// The page is written at the absolute index, so it runs out of bounds at any offset but 0.
    function _absolutePage(uint256 length, uint256 offset) private view returns (Position[] memory page) {
        page = new Position[](length < _keys.length ? length : _keys.length);
        for (uint256 i; i < page.length; ++i) page[offset + i] = _positions[_keys[offset + i]];
    }

    /// The page is as long as was asked for, and what does not exist is zero.
    function _paddedPage(uint256 length, uint256 offset) private view returns (Position[] memory page) {
        page = new Position[](length);
        if (offset >= _keys.length) return page;
        uint256 rest = _keys.length - offset;
        for (uint256 i; i < length && i < rest; ++i) page[i] = _positions[_keys[offset + i]];
    }

    function _put(Position calldata position) private {
        bytes32 key = _keyOf(position.user, position.asset, position.market);
        if (_places[key] == 0) {
            _keys.push(key);
            _places[key] = _keys.length;
        }
        _positions[key] = position;
        emit PositionChanged(position.user, position.asset, position.market, true);
    }

    function _keyOf(address user, address asset, string calldata market) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(user, asset, market));
    }
}

contract Vault {
    event VaultChanged(address indexed asset, uint256 balance, uint256 shieldBalance);

    mapping(address asset => uint256) private _balances;
    mapping(address asset => uint256) private _shields;

    function setBalance(address asset, uint256 balance) external {
        _balances[asset] = balance;
        emit VaultChanged(asset, balance, _shields[asset]);
    }

    function setShieldBalance(address asset, uint256 balance) external {
        _shields[asset] = balance;
        emit VaultChanged(asset, _balances[asset], balance);
    }

    function getBalance(address asset) external view returns (uint256) {
        return _balances[asset];
    }

    function getShieldBalance(address asset) external view returns (uint256) {
        return _shields[asset];
    }
}

contract VaultUtils {
    Vault private _vault;
    bool private _includesShield;

    function setVault(Vault vault) external {
        _vault = vault;
    }

    /// Deployments differ in what "available" means: the vault alone, or vault and shield together.
    function setIncludesShield(bool includesShield) external {
        _includesShield = includesShield;
    }

    function getVaultAvailable(address asset) external view returns (uint256) {
        uint256 balance = _vault.getBalance(asset);
        return _includesShield ? balance + _vault.getShieldBalance(asset) : balance;
    }
}

contract FundingRate {
    event FundingRefreshed(address indexed asset, string market, int256 fundingTracer, int256 fundingIncrement);

    mapping(address asset => mapping(string market => int256)) private _tracers;

    function setFundingTracer(address asset, string calldata market, int256 tracer) external {
        int256 increment;
        unchecked {
            increment = tracer - _tracers[asset][market];
        }
        _tracers[asset][market] = tracer;
        emit FundingRefreshed(asset, market, tracer, increment);
    }

    function getFundingTracers(address[] calldata assets, string[] calldata markets) external view returns (int256[] memory tracers) {
        tracers = new int256[](assets.length);
        for (uint256 i; i < assets.length; ++i) tracers[i] = _tracers[assets[i]][markets[i]];
    }
}

contract TradingMarket {
    struct Market {
        string name;
        string category;
        address deFeed;
        uint256 maxLeverage;
        uint256 maxPriceShift;
        uint256 fee;
        uint256 liqThreshold;
        uint256 fundingFactor;
        uint256 minOrderAge;
        uint256 feedMaxAge;
        bytes32 pythFeed;
        bool marketLive;
        bool isReduceOnly;
    }

    event MarketChanged(string market);

    string[] private _list;
    mapping(string market => bool) private _isListed;
    mapping(string market => Market) private _markets;

    function setMarket(string calldata market, Market calldata details) external {
        if (!_isListed[market]) _list.push(market);
        _isListed[market] = true;
        _markets[market] = details;
        emit MarketChanged(market);
    }

    function getMarketList() external view returns (string[] memory) {
        return _list;
    }

    /// An unknown market answers an empty struct, it does not revert.
    function getMultipleMarkets(string[] calldata markets) external view returns (Market[] memory details) {
        details = new Market[](markets.length);
        for (uint256 i; i < markets.length; ++i) details[i] = _markets[markets[i]];
    }
}

contract Token {
    string public constant name = "USD Coin";
    string public constant symbol = "USDC";
    uint8 public constant decimals = 6;
}

/// The part of Multicall3 that readers use, with its exact interface and revert text.
contract Multicall3 {
    struct Call {
        address target;
        bytes callData;
    }

    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            results[i] = _try(calls[i].target, calls[i].callData);
            require(results[i].success || calls[i].allowFailure, "Multicall3: call failed");
        }
    }

    function tryBlockAndAggregate(bool requireSuccess, Call[] calldata calls)
        external
        payable
        returns (uint256 blockNumber, bytes32 blockHash, Result[] memory results)
    {
        blockNumber = block.number;
        blockHash = blockhash(block.number);
        results = new Result[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            results[i] = _try(calls[i].target, calls[i].callData);
            require(results[i].success || !requireSuccess, "Multicall3: call failed");
        }
    }

    function getBlockNumber() external view returns (uint256) {
        return block.number;
    }

    function getCurrentBlockTimestamp() external view returns (uint256) {
        return block.timestamp;
    }

    function _try(address target, bytes calldata callData) private returns (Result memory result) {
        (result.success, result.returnData) = target.call(callData);
    }
}
