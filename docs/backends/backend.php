<?php
// A backend in PHP 8. README.md says how to run it.

// Whoever asks is believed. Take the user from your session instead.
function login(): ?array
{
    $id = $_GET['user'] ?? '';
    return is_string($id) && $id !== '' ? ['id' => $id, 'email' => "$id@example.com"] : null;
}

function sign(array $user): string
{
    $encode = fn (string $part) => rtrim(strtr(base64_encode($part), '+/', '-_'), '=');
    $claims = ['sub' => $user['id'], 'email' => $user['email'], 'iat' => time(), 'exp' => time() + 3600];
    $content = $encode('{"alg":"HS256","typ":"JWT"}') . '.' . $encode(json_encode($claims, JSON_THROW_ON_ERROR));
    return $content . '.' . $encode(hash_hmac('sha256', $content, getenv('ROLLCALL_JWT_SECRET'), true));
}

function ask(string $endpoint, array $fields): string
{
    $answer = file_get_contents((getenv('ROLLCALL_URL') ?: 'http://localhost:8080') . "/message/$endpoint", false,
        stream_context_create(['http' => [
            'method' => 'POST',
            'header' => "Content-Type: application/json\r\nX-Api-Key: " . getenv('ROLLCALL_API_KEY'),
            'content' => json_encode($fields, JSON_THROW_ON_ERROR),
            'timeout' => 10,
        ]]));
    return $answer !== false ? $answer : throw new RuntimeException("Rollcall refuses $endpoint");
}

function isFromRollcall(string $body): bool
{
    [$id, $time] = [$_SERVER['HTTP_WEBHOOK_ID'] ?? '', $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? ''];
    if (!ctype_digit($time) || abs(time() - (int) $time) > 300) {
        return false;
    }
    $key = base64_decode(substr(getenv('ROLLCALL_EVENTS_SECRET'), strlen('whsec_')));
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $key, true));
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $signature) {
        if (hash_equals($want, $signature)) {
            return true;
        }
    }
    return false;
}

function respond(string $path, string $body): array
{
    if ($path === '/webhook') {
        if (!isFromRollcall($body)) {
            return [401, 'not from Rollcall'];
        }
        foreach (json_decode($body, true, flags: JSON_THROW_ON_ERROR)['events'] as $e) {
            error_log("$e[type] " . ($e['channel'] ?? '') . ' ' . ($e['user']['id'] ?? ''));
        }
        return [204, ''];
    }
    if (!$user = login()) {
        return [401, 'log in first'];
    }
    switch ("$_SERVER[REQUEST_METHOD] $path") {
        case 'GET /api/token':
            return [200, sign($user)];
        case 'GET /api/online':
            return [200, ask('users', ['channel' => $_GET['channel'] ?? null])];
        case 'POST /api/send':
            ['channel' => $channel, 'text' => $text] = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
            return [201, ask('sendmessage', ['channels' => [$channel], 'message' => ['user' => $user['id'], 'text' => $text]])];
    }
    return [404, 'not found'];
}

try {
    [$status, $text] = respond(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), file_get_contents('php://input'));
} catch (Throwable $e) {
    error_log($e->getMessage());
    [$status, $text] = [500, ''];
}
http_response_code($status);
header('Content-Type: text/plain');
echo $text;
